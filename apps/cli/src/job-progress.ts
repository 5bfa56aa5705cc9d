import { lossText, TERMINAL_STATUSES, type JobObject } from '@graft/contracts';
import type { Api } from './api.js';
import { bar, clock, printable, type Output } from './terminal.js';

interface Metrics {
  readonly step: number;
  readonly loss: number | null;
  readonly tokens_per_second: number | null;
}

export const isOver = (job: JobObject): boolean =>
  TERMINAL_STATUSES.includes(job.status) || job.status === 'paused';

/** One line for a job under way: bar, steps, loss, tokens/s, ETA; before its first step what it waits for. */
export function progressLine(job: JobObject, last: Metrics | null): string {
  const { progress, phase, train_loss } = job.graft;
  const step = Math.max(progress.step, last?.step ?? 0);
  if (job.status !== 'running' || (step === 0 && progress.total_steps === null))
    return `${job.status}: ${printable(phase.message)}`;
  const loss = last?.loss ?? train_loss;
  const speed = last?.tokens_per_second ?? progress.tokens_per_second;
  const total = progress.total_steps;
  return [
    total === null ? `step ${step}` : `${bar(step / total)} ${step}/${total}`,
    loss === null ? null : `loss ${lossText(loss)}`,
    speed === null ? null : `${Math.round(speed)} tokens/s`,
    progress.eta_seconds === null ? null : `ETA ${clock(progress.eta_seconds)}`,
    step === 0 ? printable(phase.message) : null,
  ]
    .filter((part) => part !== null)
    .join(' · ');
}

/**
 * Follows a job's stream until the job is over or `signal` fires, drawing one line over and over (on a
 * terminal) or writing a line every few seconds (elsewhere). Returns the job as last seen.
 */
export async function followJob(
  api: Api,
  id: string,
  out: Output,
  signal?: AbortSignal,
): Promise<JobObject> {
  const path = `/fine_tuning/jobs/${encodeURIComponent(id)}`;
  let job = await api.get<JobObject>(path);
  let last: Metrics | null = null;
  const show = steadyPrinter(out);
  if (isOver(job)) return job;
  show(job, last);
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const onLost = (): void => out.note('the connection to the API was lost; trying again');
  try {
    for await (const event of api.events(`${path}/stream`, { signal: either, onLost })) {
      if (out.json) out.value({ event: event.event, data: JSON.parse(event.data) as unknown });
      if (event.event === 'job') job = JSON.parse(event.data) as JobObject;
      else if (event.event === 'metrics') last = JSON.parse(event.data) as Metrics;
      else if (event.event === 'reset') job = await api.get<JobObject>(path);
      if (isOver(job)) break;
      show(job, last);
    }
  } finally {
    stop.abort();
    out.draw('');
  }
  if (signal?.aborted) return job;
  return api.get<JobObject>(path);
}

// without a terminal a line at most every 5 s, so that a log stays readable, and none twice for one step:
// a step's loss arrives just after the job's own news of it
function steadyPrinter(out: Output): (job: JobObject, last: Metrics | null) => void {
  let written = '';
  let at = 0;
  return (job, last) => {
    if (out.json) return;
    if (out.live) return out.draw(progressLine(job, last));
    const key =
      job.status === 'running' && last !== null
        ? `step ${last.step}`
        : `${job.status} ${job.graft.phase.message}`;
    if (key === written || Date.now() - at < 5000) return;
    written = key;
    at = Date.now();
    out.note(progressLine(job, last));
  };
}
