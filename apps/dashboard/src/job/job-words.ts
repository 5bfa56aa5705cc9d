// What a job's figures mean, in words.
import type { JobObject, MetricsObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import { duration } from '@graft/contracts/duration';
import { kindOf, operationTitle } from '@graft/contracts/job-kinds';
import { placeText } from '@graft/contracts/queue-place';
import { modelTitle, short } from '../format.js';

export const isOver = (job: JobObject): boolean => TERMINAL_STATUSES.includes(job.status);

/** What is made of finished adapters has no checkpoints: it would begin anew. */
export const canPause = (job: JobObject): boolean => kindOf(job) === 'training';

/** What it was renamed to, else its suffix, else what it makes of finished adapters, or its id where it trains. */
export const jobName = (job: JobObject): string =>
  job.graft.name ?? job.user_provided_suffix ?? operationName(job) ?? job.id;

/** The same where what it makes stands beside it: then its source is enough. */
export function shortName(job: JobObject): string {
  const [only, ...others] = job.graft.operation?.adapters ?? [];
  const own = job.graft.name ?? job.user_provided_suffix;
  return own ?? (only === undefined || others.length > 0 ? jobName(job) : modelTitle(only));
}

/** "Export to GGUF Q8_0 of pirate · 1a2b3c4d"; null of a job that trains. */
function operationName({ graft: { operation } }: JobObject): string | null {
  if (!operation) return null;
  const [only, ...others] = operation.adapters;
  const of = only === undefined || others.length > 0 ? '' : ` of ${modelTitle(only)}`;
  return `${operationTitle(operation)}${of}`;
}

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

/** "trained 8 s, waited 7 min 32 s" ("took 8 s" where nothing is trained): what was training apart from all that was not; null before the first start. */
export function timeSpent(job: JobObject, now = Date.now() / 1000): string | null {
  const { training_seconds: trained, started_at: started } = job.graft;
  const end = isOver(job) ? job.finished_at : now;
  if (started === null || end === null) return null;
  const waited = Math.round(end - job.created_at - trained);
  const verb = job.graft.operation ? 'took' : 'trained';
  return `${verb} ${duration(trained)}${waited > 0 ? `, waited ${duration(waited)}` : ''}`;
}

/** "3rd of 12, starts in about 4 min (2 min to 8 min)"; null of a job that does not wait its turn. */
export const queuePlace = (job: JobObject, now = Date.now() / 1000): string | null =>
  (job.status === 'queued' && placeText(job.graft, now)) || null;

/** "2 jobs of other projects" */
const others = (count: number): string =>
  count === 1 ? 'one job from another project' : `${count} jobs from other projects`;

/** With whom a job shares its process: jobs that may be looked at, and the rest in words; null: with nobody. */
export function company(
  job: JobObject,
): { readonly jobs: readonly string[]; readonly rest: string | null } | null {
  const { shares_with: shares } = job.graft;
  if (job.status !== 'running' || !shares || shares.jobs.length + shares.others === 0) return null;
  return { jobs: shares.jobs, rest: shares.others === 0 ? null : others(shares.others) };
}

/** "waited 12 s of 1 min 20 s for others in its process"; null where it did not. */
export function waitedForOthers(job: JobObject): string | null {
  const { waited_seconds: waited, training_seconds: whole } = job.graft;
  if (!waited || waited < 1) return null;
  // Both are rounded by themselves, and the first steps' wait may precede what counts as training.
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
  hang: 'trainer hung',
  crash: 'trainer crashed',
};

/** How an attempt ended; a code that is not known is shown as words. */
export const outcomeWords = (outcome: string | null): string =>
  outcome === null ? 'running' : (OUTCOMES[outcome] ?? outcome.replaceAll('_', ' '));
