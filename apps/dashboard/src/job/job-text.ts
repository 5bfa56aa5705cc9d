// Describes a job's data in words.
import type { JobObject, MetricsObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import { duration } from '@graft/contracts/duration';
import { kindOf } from '@graft/contracts/job-kinds';
import { placeText } from '@graft/contracts/queue-place';
import { short } from '../format.js';

export const isOver = (job: JobObject): boolean => TERMINAL_STATUSES.includes(job.status);

/** Whether a job can be paused. Operations on adapters have no checkpoints and would start over. */
export const canPause = (job: JobObject): boolean => kindOf(job) === 'training';

export const jobName = (job: JobObject): string => job.graft.name;

/** Returns "its worker has been silent for 9 s"; null while heartbeats arrive. */
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

/** Returns the lowest validation loss. For equal losses, the first one. */
export function lowestValidation(evaluations: MetricsObject['evaluations']): Lowest | null {
  let lowest: Lowest | null = null;
  for (const { step, loss } of evaluations)
    if (loss !== null && (lowest === null || loss < lowest.loss)) lowest = { step, loss };
  return lowest;
}

/** Returns "4.272, lowest 2.230 at step 10". The lowest is omitted if it is the last one. */
export function validationText(evaluations: MetricsObject['evaluations']): string | null {
  const last = evaluations.findLast(({ loss }) => loss !== null);
  const lowest = lowestValidation(evaluations);
  if (!last || !lowest) return null;
  const better =
    lowest.step === last.step ? '' : `, lowest ${short(lowest.loss)} at step ${lowest.step}`;
  return `${short(last.loss)}${better}`;
}

/**
 * Returns "trained 8 s, waited 7 min 32 s", or "took 8 s" for operations. Waiting is all time other
 * than training. Null before the first start.
 */
export function timeSpent(job: JobObject, now = Date.now() / 1000): string | null {
  const { training_seconds: trained, started_at: started } = job.graft;
  const end = isOver(job) ? job.finished_at : now;
  if (started === null || end === null) return null;
  const waited = Math.round(end - job.created_at - trained);
  const verb = job.graft.operation ? 'took' : 'trained';
  return `${verb} ${duration(trained)}${waited > 0 ? `, waited ${duration(waited)}` : ''}`;
}

/** Returns "3rd of 12, starts in about 4 min (2 min to 8 min)"; null if the job is not queued. */
export const queuePlace = (job: JobObject, now = Date.now() / 1000): string | null =>
  (job.status === 'queued' && placeText(job.graft, now)) || null;

/** Returns "2 jobs from other projects". */
const others = (count: number): string =>
  count === 1 ? 'one job from another project' : `${count} jobs from other projects`;

/**
 * Returns the jobs that share the process: ids of visible jobs, and the others in words. Null if
 * there are none.
 */
export function sharedWith(
  job: JobObject,
): { readonly jobs: readonly string[]; readonly rest: string | null } | null {
  const { shares_with: shares } = job.graft;
  if (job.status !== 'running' || !shares || shares.jobs.length + shares.others === 0) return null;
  return { jobs: shares.jobs, rest: shares.others === 0 ? null : others(shares.others) };
}

/** Returns "12 s of 1 min 20 s spent waiting for other jobs in its process"; null if it did not wait. */
export function waitedForOthers(job: JobObject): string | null {
  const { waited_seconds: waited, training_seconds: whole } = job.graft;
  if (!waited || waited < 1) return null;
  // Both are rounded separately, and the wait of the first steps can precede the measured training
  // time.
  return `${duration(waited)} of ${duration(Math.max(waited, whole))} spent waiting for other jobs in its process`;
}

const OUTCOMES: Readonly<Record<string, string>> = {
  lost_worker: 'worker lost',
  displaced: 'evicted by another job',
  preempted: 'preempted by a job of higher priority',
  not_delivered: 'never delivered to a worker',
  not_prepared: 'waited for storage or the database',
  damaged_checkpoint: 'checkpoint damaged; using the previous one',
  drained: 'worker stopped',
  database_restored: 'database restored',
  user_error: 'invalid settings or data',
  no_memory: 'not enough memory for the base model',
  oom_host: 'out of memory',
  oom_heap: 'out of memory',
  oom_gpu: 'out of GPU memory',
  io_error: 'disk or network error',
  disk_full: 'disk full',
  nonfinite: 'loss not finite',
  interrupted: 'interrupted on purpose',
  hang: 'trainer hung',
  crash: 'trainer crashed',
};

/** Describes how an attempt ended. Unknown codes are shown with spaces. */
export const outcomeText = (outcome: string | null): string =>
  outcome === null ? 'running' : (OUTCOMES[outcome] ?? outcome.replaceAll('_', ' '));
