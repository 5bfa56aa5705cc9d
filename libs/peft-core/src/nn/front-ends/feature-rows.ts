/** Input of a front end, and the ranges of its intermediate rows, which differ from those of the stack. */
import type { Tensor } from '@graft/kernels';
import { runRows } from '../batch.js';
import type { Sequence } from '../batch.js';
import type { BaseDtype } from '../precision.js';
import type { ForwardContext } from '../context.js';

export interface FeatureRows {
  /** One tensor per sequence. */
  readonly features: readonly Tensor[];
  readonly sequences: readonly Sequence[];
  /** Rows that training masks, by sequence. */
  readonly hidden?: readonly (readonly number[])[] | undefined;
  /** Dtype of the output rows. */
  readonly dtype: BaseDtype;
}

/**
 * Returns the context of a module whose number of rows per sequence differs from the stack's. The stack's row-wise
 * values (`active`, `scalings`) do not apply to it.
 */
export function featureContext(
  { sequences }: FeatureRows,
  counts: readonly number[],
  { active: _, scalings: __, ...ctx }: ForwardContext,
): ForwardContext {
  let at = 0;
  const own = sequences.map((sequence, i): Sequence => {
    const length = counts[i] as number;
    at += length;
    return { ...sequence, start: at - length, length };
  });
  return { ...ctx, rows: runRows(own), sequences: own };
}
