/** What a front end reads of a batch, and the ranges of rows that it makes on the way, which are not those of the stack. */
import type { Tensor } from '@graft/kernels';
import { runRows } from '../batch.js';
import type { Sequence } from '../batch.js';
import type { BaseDtype } from '../precision.js';
import type { ForwardContext } from '../context.js';

export interface FeatureRows {
  /** One for each sequence. */
  readonly features: readonly Tensor[];
  readonly sequences: readonly Sequence[];
  /** By sequence, the rows that training hides. */
  readonly hidden?: readonly (readonly number[])[] | undefined;
  /** Of the rows that it makes. */
  readonly dtype: BaseDtype;
}

/**
 * The context of a module that has other rows than the stack: so many for each sequence. What is said row by row of the
 * stack (`active`, `scalings`) is not said of them.
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
