import { retryOf, type Blame } from '@graft/contracts';
import type { Job } from '../database/entities/job.js';
import { runsAlone } from './blame.js';

/** What follows the end of an attempt. */
export type Verdict =
  | { readonly then: 'fail'; readonly advice: string | null }
  | {
      readonly then: 'requeue';
      readonly count: 'crash' | 'infra' | 'none';
      readonly delayMs: number;
    };

/** What an attempt ended with. */
export interface AttemptEnd {
  readonly code: string;
  /** What the worker thinks; it counts only for a code that this build does not know. */
  readonly retryable: boolean;
  readonly blame: Blame | null;
}

export const CRASH_BUDGET = 3;
export const INFRA_BUDGET = 20;
const MAX_DELAY_MS = 5 * 60_000;
const DISK_FULL_DELAY_MS = 60_000;

/** What a user may do about an end that is not tried again. */
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
 * What the table of ERROR_CODES says of the code, and the budgets: crashes without a new checkpoint in between 3,
 * failures of the infrastructure 20 in a job's life. Delays double with each failure. What may have been another's fault
 * costs neither, until the job runs alone: then nobody else is left. What was another's fault for certain costs nothing.
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
  // A run that hung by its own work does so again, most likely; one of which nobody knows may have been held up.
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
      // The lease already took its time to run out, and the one that failed is not there to be hurt again.
      const atOnce = code === 'lost_worker' && job.infra_count === 0;
      return {
        then: 'requeue',
        count: 'infra',
        delayMs: atOnce ? 0 : backoff(Math.min(job.infra_count, 6)),
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
