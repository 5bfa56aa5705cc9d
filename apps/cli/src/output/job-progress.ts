import { isMediaSpeed } from '@graft/contracts/metric-text';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import type {
  Catalog,
  JobObject,
  Measured,
  MetricDescription,
  MetricsObject,
} from '@graft/contracts';
import type { Api } from '../client/api.js';
import { LossCurve } from './loss-curve.js';
import { liveLine, progressLine } from './progress-line.js';
import type { Output } from './terminal.js';

export const isOver = (job: JobObject): boolean =>
  TERMINAL_STATUSES.includes(job.status) || job.status === 'paused';

/** Descriptions of the charted metrics of the job's task, without the loss. */
async function shownOf(api: Api, job: JobObject): Promise<readonly MetricDescription[]> {
  const { tasks } = await api.get<Catalog>('/catalog');
  const task = tasks.find(({ name }) => name === job.graft['task']);
  const { step = [], validation = [] } = task?.metrics ?? {};
  const shown = validation.filter(({ name, draw }) => draw !== null && name !== 'loss');
  return [...step.filter(isMediaSpeed), ...shown];
}

/**
 * Follows a job's stream until the job ends or `signal` fires. Redraws one line on a terminal; elsewhere, writes a line
 * every few seconds. Returns the latest state of the job.
 */
export async function followJob(
  api: Api,
  id: string,
  out: Output,
  signal?: AbortSignal,
): Promise<JobObject> {
  const path = `/fine_tuning/jobs/${encodeURIComponent(id)}`;
  let job = await api.get<JobObject>(path);
  let last: Measured | null = null;
  if (isOver(job)) return job;
  const described = await shownOf(api, job);
  const curve = out.live ? await curveOf(api, path) : new LossCurve();
  const show = out.live ? livePrinter(out, curve) : steadyPrinter(out);
  show(job, last, described);
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const onLost = (): void => out.note('Lost connection to the API; reconnecting …');
  try {
    for await (const event of api.events(`${path}/stream`, { signal: either, onLost })) {
      if (out.json) out.value({ event: event.kind, data: JSON.parse(event.data) as unknown });
      if (event.kind === 'job') job = JSON.parse(event.data) as JobObject;
      else if (event.kind === 'metrics') {
        last = JSON.parse(event.data) as Measured;
        addTo(curve, last);
      } else if (event.kind === 'reset') job = await api.get<JobObject>(path);
      if (isOver(job)) break;
      show(job, last, described);
    }
  } finally {
    stop.abort();
    out.draw('');
  }
  if (signal?.aborted) return job;
  return api.get<JobObject>(path);
}

/** Training losses so far. */
async function curveOf(api: Api, path: string): Promise<LossCurve> {
  const curve = new LossCurve();
  const { steps, series } = await api.get<MetricsObject>(`${path}/metrics`);
  for (const [n, step] of steps.entries()) addTo(curve, { step, loss: series['loss']?.[n] });
  return curve;
}

function addTo(
  curve: LossCurve,
  { step, loss }: Pick<Measured, 'step'> & { loss?: unknown },
): void {
  if (typeof loss === 'number') curve.add(step, loss);
}

type Show = (...line: Parameters<typeof progressLine>) => void;

const livePrinter =
  (out: Output, curve: LossCurve): Show =>
  (job, last, described = []) =>
    out.draw((columns) => liveLine({ job, last, described, curve }, columns - 1));

// Without a terminal, it prints at most one line every 5 s, so that a log stays readable, and one line per step: the loss
// of a step arrives just after the job's update.
function steadyPrinter(out: Output): Show {
  let written = '';
  let at = 0;
  return (job, last, described) => {
    if (out.json) return;
    const key =
      job.status === 'running' && last !== null
        ? `step ${last.step}`
        : `${job.status} ${job.graft.phase.message}`;
    if (key === written || Date.now() - at < 5000) return;
    written = key;
    at = Date.now();
    out.note(progressLine(job, last, described));
  };
}
