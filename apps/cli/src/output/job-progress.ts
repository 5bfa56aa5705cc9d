import { duration } from '@graft/contracts/duration';
import { isMediaSpeed, mediaSpeeds, metricText } from '@graft/contracts/metric-text';
import { lossText } from '@graft/contracts/loss-text';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import type { Catalog, JobObject, Measured, MetricDescription } from '@graft/contracts';
import { placeText } from '@graft/contracts/queue-place';
import type { Api } from '../client/api.js';
import { bar, printable, type Output } from './terminal.js';

export const isOver = (job: JobObject): boolean =>
  TERMINAL_STATUSES.includes(job.status) || job.status === 'paused';

/**
 * Progress of a running job in one line: bar, steps, loss, tokens/s, ETA and the other metrics of its task. Before the
 * first step, the phase. The terminal truncates the end if the line is too long.
 */
export function progressLine(
  job: JobObject,
  last: Measured | null,
  described: readonly MetricDescription[] = [],
): string {
  const { operation, progress, phase, train_loss } = job.graft;
  const step = Math.max(progress.step, last?.step ?? 0);
  const isBefore = step === 0 && progress.total_steps === null;
  if (job.status !== 'running' || operation || isBefore)
    return [`${job.status}: ${printable(phase.message)}`, placeText(job.graft)]
      .filter((part) => part !== '')
      .join('; ');
  const loss = last?.loss ?? train_loss;
  const speed = last?.['tokens_per_second'] ?? progress.tokens_per_second;
  const total = progress.total_steps;
  return [
    total === null ? `step ${step}` : `${bar(step / total)} ${step}/${total}`,
    loss === null ? null : `loss ${lossText(loss)}`,
    speed === null ? null : `${Math.round(speed)} tokens/s`,
    ...mediaSpeeds(described, last),
    progress.eta_seconds === null ? null : `ETA ${duration(progress.eta_seconds)}`,
    ...described.map((metric) => {
      const value = isMediaSpeed(metric) ? null : (last?.[metric.name] ?? null);
      return value === null ? null : `${metric.title.toLowerCase()} ${metricText(metric, value)}`;
    }),
    step === 0 ? printable(phase.message) : null,
  ]
    .filter((part) => part !== null)
    .join(' · ');
}

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
  const show = steadyPrinter(out);
  if (isOver(job)) return job;
  const described = await shownOf(api, job);
  show(job, last, described);
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const onLost = (): void => out.note('Lost connection to the API; reconnecting …');
  try {
    for await (const event of api.events(`${path}/stream`, { signal: either, onLost })) {
      if (out.json) out.value({ event: event.kind, data: JSON.parse(event.data) as unknown });
      if (event.kind === 'job') job = JSON.parse(event.data) as JobObject;
      else if (event.kind === 'metrics') last = JSON.parse(event.data) as Measured;
      else if (event.kind === 'reset') job = await api.get<JobObject>(path);
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

// Without a terminal, it prints at most one line every 5 s, so that a log stays readable, and one line per step: the loss
// of a step arrives just after the job's update.
function steadyPrinter(out: Output): (...line: Parameters<typeof progressLine>) => void {
  let written = '';
  let at = 0;
  return (job, last, described) => {
    if (out.json) return;
    if (out.live) return out.draw(progressLine(job, last, described));
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
