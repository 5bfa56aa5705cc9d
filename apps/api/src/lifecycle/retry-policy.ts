import { retryOf, type Blame } from '@graft/contracts';
import type { Job } from '../database/entities/job.js';
import { runsAlone } from './blame.js';

/** Decision about a job after the end of an attempt. */
export type Verdict =
  | { readonly then: 'fail'; readonly advice: string | null }
  | {
      readonly then: 'requeue';
      readonly count: 'crash' | 'infra' | 'none';
      readonly delayMs: number;
    };

export interface AttemptEnd {
  readonly code: string;
  /** Opinion of the worker. It counts only for codes that are unknown to this build. */
  readonly retryable: boolean;
  readonly blame: Blame | null;
}

export const CRASH_BUDGET = 3;
export const INFRA_BUDGET = 20;
const MAX_DELAY_MS = 5 * 60_000;
const DISK_FULL_DELAY_MS = 60_000;

/** Advice to the user by code, for failures that are not retried. */
const ADVICE: Readonly<Record<string, string>> = {
  no_memory:
    'no worker that tried had enough free memory for the base model; if other programs use the memory, create the job again when it is free',
  oom_host:
    'the machine ran out of memory twice; lower batch_size or use a machine with more memory',
  oom_heap: 'the trainer ran out of JavaScript heap; shorten the examples (graft.max_seq_len)',
  oom_gpu: 'the device ran out of memory; lower hyperparameters.batch_size or graft.max_seq_len',
  nonfinite:
    'the loss became NaN or infinite; lower graft.learning_rate. The last good checkpoint is kept',
};

/**
 * Decides whether a job is retried, by the code's entry in ERROR_CODES and two budgets: 3 crashes without a
 * new checkpoint in between, and 20 infrastructure failures per job. Delays double with each failure. A
 * failure that several jobs may have caused is not charged until the job runs alone. A failure that another
 * job caused is never charged.
 */
export function verdict(
  job: Pick<Job, 'crash_count' | 'infra_count' | 'present_at_deaths'>,
  { code, retryable, blame }: AttemptEnd,
  backoffMs: number,
): Verdict {
  const backoff = (failures: number): number =>
    Math.min(MAX_DELAY_MS, backoffMs * 2 ** failures) * (0.75 + Math.random() / 2);
  if (blame === 'shared' && !runsAlone(job))
    return { then: 'requeue', count: 'none', delayMs: backoff(job.present_at_deaths) };
  const known = retryOf(code);
  const advice = known === null ? null : (ADVICE[code] ?? null);
  // A run that hangs in its own work will probably hang again. Without blame, something else may have
  // blocked it.
  const ownHang = code === 'hang' && blame === 'own';
  switch (ownHang ? 'crash' : (known ?? (retryable ? 'crash' : 'never'))) {
    case 'free':
      return { then: 'requeue', count: 'none', delayMs: 0 };
    case 'never':
      return { then: 'fail', advice };
    case 'wait':
      return {
        then: 'requeue',
        count: 'none',
        delayMs: Math.min(DISK_FULL_DELAY_MS, backoffMs * 12),
      };
    case 'once':
      return job.crash_count >= 1
        ? { then: 'fail', advice }
        : { then: 'requeue', count: 'crash', delayMs: backoff(job.crash_count) };
    case 'infra': {
      if (job.infra_count + 1 > INFRA_BUDGET)
        return {
          then: 'fail',
          advice: `this happened ${INFRA_BUDGET} times; the job is not retried automatically`,
        };
      // The expired lease was already a delay, and the lost worker cannot fail again.
      const isImmediate = code === 'lost_worker' && job.infra_count === 0;
      return {
        then: 'requeue',
        count: 'infra',
        delayMs: isImmediate ? 0 : backoff(Math.min(job.infra_count, 6)),
      };
    }
    case 'crash':
      return job.crash_count + 1 >= CRASH_BUDGET
        ? {
            then: 'fail',
            advice: `it ${ownHang ? 'hung' : 'failed'} ${CRASH_BUDGET} times without a new checkpoint in between`,
          }
        : { then: 'requeue', count: 'crash', delayMs: backoff(job.crash_count) };
  }
}
