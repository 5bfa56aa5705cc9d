import type { Job } from '../database/entities/job.js';

/** What follows the end of an attempt. */
export type Verdict =
  | { readonly then: 'fail'; readonly advice: string | null }
  | {
      readonly then: 'requeue';
      readonly count: 'crash' | 'infra' | 'none';
      readonly delayMs: number;
    };

export const CRASH_BUDGET = 3;
export const INFRA_BUDGET = 20;
const MAX_DELAY_MS = 5 * 60_000;
const DISK_FULL_DELAY_MS = 60_000;

/** Ends that will come again however often the run is repeated. */
const FINAL: Readonly<Record<string, string | null>> = {
  user_error: null,
  oom_heap: 'the trainer ran out of JavaScript heap; shorten the examples (graft.max_seq_len)',
  oom_gpu: 'the device ran out of memory; lower hyperparameters.batch_size or graft.max_seq_len',
  nonfinite:
    'the loss stopped being finite; lower graft.learning_rate. The last good checkpoint is kept',
};

/**
 * Exit classes and budgets: crashes without a new checkpoint in between 3, failures of the
 * infrastructure 20 in a job's life, running out of host memory once. Delays double with each failure.
 */
export function verdict(
  job: Pick<Job, 'crash_count' | 'infra_count'>,
  code: string,
  retryable: boolean,
  backoffMs: number,
): Verdict {
  const backoff = (failures: number): number =>
    Math.min(MAX_DELAY_MS, backoffMs * 2 ** failures) * (0.75 + Math.random() / 2);
  if (code in FINAL) return { then: 'fail', advice: FINAL[code] ?? null };
  switch (code) {
    case 'disk_full':
      return {
        then: 'requeue',
        count: 'none',
        delayMs: Math.min(DISK_FULL_DELAY_MS, backoffMs * 12),
      };
    case 'oom_host':
      return job.crash_count >= 1
        ? {
            then: 'fail',
            advice:
              'the machine ran out of memory twice; lower batch_size or use a machine with more',
          }
        : { then: 'requeue', count: 'crash', delayMs: backoff(job.crash_count) };
    case 'io_error':
    case 'lost_worker':
    case 'hang': {
      if (job.infra_count + 1 > INFRA_BUDGET)
        return {
          then: 'fail',
          advice: `this happened ${INFRA_BUDGET} times; the job is not tried again by itself`,
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
      return crash(job, backoff);
    default:
      return retryable ? crash(job, backoff) : { then: 'fail', advice: null };
  }
}

function crash(job: Pick<Job, 'crash_count'>, backoff: (failures: number) => number): Verdict {
  return job.crash_count + 1 >= CRASH_BUDGET
    ? {
        then: 'fail',
        advice: `it crashed ${CRASH_BUDGET} times without a new checkpoint in between`,
      }
    : { then: 'requeue', count: 'crash', delayMs: backoff(job.crash_count) };
}
