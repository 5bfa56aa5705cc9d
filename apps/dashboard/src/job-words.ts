// What a job's figures mean, in words.
import type { JobObject, MetricsObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/openai';
import { duration, short } from './wording.js';

export const isOver = (job: JobObject): boolean => TERMINAL_STATUSES.includes(job.status);

/** Its own name, or its id where it has none. */
export const jobName = (job: JobObject): string => job.user_provided_suffix ?? job.id;

/** "its worker has been silent for 9 s"; null while it is heard. */
export function silence(job: JobObject): string | null {
  const { worker_silent_seconds: seconds } = job.graft;
  return job.status === 'running' && seconds !== null
    ? `its worker has been silent for ${duration(seconds)}`
    : null;
}

export interface Lowest {
  readonly step: number;
  readonly loss: number;
}

/** The lowest validation loss that was measured, the first of equals. */
export function lowestValidation(evaluations: MetricsObject['evaluations']): Lowest | null {
  let lowest: Lowest | null = null;
  for (const { step, loss } of evaluations)
    if (loss !== null && (lowest === null || loss < lowest.loss)) lowest = { step, loss };
  return lowest;
}

/** "4.272, lowest 2.230 at step 10"; the lowest only where it is not the last. */
export function validationWords(evaluations: MetricsObject['evaluations']): string | null {
  const last = evaluations.findLast(({ loss }) => loss !== null);
  const lowest = lowestValidation(evaluations);
  if (!last || !lowest) return null;
  const better =
    lowest.step === last.step ? '' : `, lowest ${short(lowest.loss)} at step ${lowest.step}`;
  return `${short(last.loss)}${better}`;
}

/** "trained 8 s, waited 7 min 32 s": what was training apart from all that was not; null before the first start. */
export function timeSpent(job: JobObject, now = Date.now() / 1000): string | null {
  const { training_seconds: trained, started_at: started } = job.graft;
  const end = isOver(job) ? job.finished_at : now;
  if (started === null || end === null) return null;
  const waited = Math.round(end - job.created_at - trained);
  return `trained ${duration(trained)}${waited > 0 ? `, waited ${duration(waited)}` : ''}`;
}

const OUTCOMES: Readonly<Record<string, string>> = {
  lost_worker: 'worker lost',
  drained: 'worker was stopped',
  database_restored: 'database restored',
  user_error: 'wrong settings or data',
  oom_host: 'out of memory',
  oom_heap: 'out of memory',
  oom_gpu: 'out of GPU memory',
  io_error: 'disk or network error',
  disk_full: 'disk full',
  nonfinite: 'loss not finite',
  hang: 'trainer hung',
  crash: 'trainer crashed',
};

/** How an attempt ended; a code that is not known is shown as words. */
export const outcomeWords = (outcome: string | null): string =>
  outcome === null ? 'running' : (OUTCOMES[outcome] ?? outcome.replaceAll('_', ' '));
