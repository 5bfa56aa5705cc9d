/**
 * Rows of a batch by run: a module applies each run's adapter to that run's rows only. n is the number of current rows.
 */
import { cat, split } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { RunRows } from './batch.js';
import type { DropoutKey, ForwardContext, RowContext } from './context.js';

/** A run's own parameters of a norm or an embedding. Those omitted are the base model's. */
export interface ParameterOverride {
  readonly weight?: Tensor;
  readonly bias?: Tensor;
}

const NO_KEY: DropoutKey = { seed: 0, step: 0 };

/** Upper bound on the number of modules of a model. */
const MODULES = 1 << 20;

/** Returns the view of a forward pass for a run's adapter at a module. */
export const rowContext = (ctx: ForwardContext, run: number, module: number): RowContext => ({
  training: ctx.training,
  key: ctx.runs.get(run) ?? NO_KEY,
  module: module + (ctx.repeat ?? 0) * MODULES,
  tasks: () =>
    (ctx.sequences ?? [])
      .filter((sequence) => sequence.run === run)
      .map(({ taskId = 0, length }) => ({ taskId, length })),
  active: ctx.active?.get(run) ?? null,
  scalings: ctx.scalings?.get(run) ?? null,
  alone: ctx.rows.length === 1,
});

/** Runs `fn` on each run's rows of x and joins the results. A single run receives x itself. */
export function byRun(
  x: Tensor,
  ctx: ForwardContext,
  fn: (rows: Tensor, run: number) => Tensor,
): Tensor {
  const [first] = ctx.rows;
  if (first && ctx.rows.length === 1) return fn(x, first.run);
  const parts = split(
    x,
    ctx.rows.map(({ length }) => length),
  );
  return cat(ctx.rows.map(({ run }, i) => fn(parts[i] as Tensor, run)));
}

export const touches = (
  attached: ReadonlyMap<number, unknown>,
  rows: readonly RunRows[],
): boolean => attached.size > 0 && rows.some(({ run }) => attached.has(run));

/** Whether both have the same row ranges of the same runs. */
export const areSame = (some: readonly RunRows[], others: readonly RunRows[]): boolean =>
  some.length === others.length &&
  some.every((one, i) => {
    const { run, start, length } = others[i] as RunRows;
    return one.run === run && one.start === start && one.length === length;
  });
