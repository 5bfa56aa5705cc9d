// What failed, and the change that most likely fixes it.
import type { JobObject } from '@graft/contracts';
import { createBody } from '@graft/contracts/compared-jobs';
import { short } from '../format.js';
import { outcomeText } from './job-text.js';

const TITLES: Readonly<Record<string, string>> = {
  nonfinite: 'The loss became infinite or NaN',
  oom_gpu: 'The GPU ran out of memory',
  oom_host: 'The worker ran out of memory',
  oom_heap: 'The worker ran out of memory',
  no_memory: 'The base model does not fit into the memory of any worker',
  user_error: 'The settings or the data do not work',
  disk_full: 'The disk of the worker is full',
  io_error: 'A disk or the network failed',
  lost_worker: 'The worker was lost too often',
  hang: 'The trainer made no progress',
  crash: 'The trainer crashed',
};

/** Returns what failed, as a title: "The GPU ran out of memory". */
export function failureTitle({ error }: JobObject): string {
  const code = error?.code ?? 'failed';
  return TITLES[code] ?? outcomeText(code).replace(/^./, (letter) => letter.toUpperCase());
}

type Body = Record<string, unknown>;

export interface Fix {
  /** Label of the button: "Retry with learning rate 5e-5". */
  readonly label: string;
  /** Changes the body of the request that created the job. */
  readonly apply: (body: Body) => Body;
}

const withGraft = (body: Body, change: Body): Body => ({
  ...body,
  graft: { ...(body['graft'] as Body), ...change },
});

function withBatchSize(body: Body, batch_size: number): Body {
  const method = body['method'] as ({ type: string } & Body) | null | undefined;
  if (!method) return { ...body, hyperparameters: { batch_size } };
  const own = method[method.type] as Body;
  const hyperparameters = { ...(own['hyperparameters'] as Body), batch_size };
  return { ...body, method: { ...method, [method.type]: { ...own, hyperparameters } } };
}

/** Lowers the memory of a step: half the batch at the same effective size, then recomputed activations. */
function lessMemory({ hyperparameters, graft }: JobObject): Fix | null {
  const batch = hyperparameters.batch_size;
  const steps = graft.gradient_accumulation_steps ?? 1;
  if (typeof batch === 'number' && batch > 1) {
    const half = Math.floor(batch / 2);
    return {
      label: `Retry with batch size ${half}`,
      apply: (body) =>
        withGraft(withBatchSize(body, half), { gradient_accumulation_steps: steps * 2 }),
    };
  }
  if (graft.gradient_checkpointing) return null;
  return {
    label: 'Retry with gradient checkpointing',
    apply: (body) => withGraft(body, { gradient_checkpointing: true }),
  };
}

/** Failures of machines, which the same job may not meet again. */
const PASSING = ['io_error', 'disk_full', 'lost_worker', 'hang', 'crash', 'preparation_failed'];

/** Returns the change that most likely fixes a failed job; null if only its user knows. */
export function fixOf(job: JobObject): Fix | null {
  const code = job.error?.code ?? '';
  const rate = job.graft.learning_rate;
  if (code === 'nonfinite' && typeof rate === 'number') {
    const lower = Number((rate / 10).toPrecision(2));
    return {
      label: `Retry with learning rate ${rateText(lower)}`,
      apply: (body) => withGraft(body, { learning_rate: lower }),
    };
  }
  if (['oom_gpu', 'oom_host', 'oom_heap'].includes(code)) return lessMemory(job);
  return PASSING.includes(code) ? { label: 'Run again', apply: (body) => body } : null;
}

const rateText = (rate: number): string => (rate < 0.001 ? rate.toExponential() : short(rate));

/**
 * Returns the body of a job that repeats another one with a change.
 * @param options names of the options that a request may set under `graft`
 */
export const retryBody = (job: JobObject, options: readonly string[], fix: Fix): Body =>
  fix.apply(createBody(job, options));
