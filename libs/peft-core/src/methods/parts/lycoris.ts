/** Shared code of the LyCORIS methods (LoHa, LoKr) in PEFT: fields, and two kinds of dropout on a whole update. */
import { clamp, counterUniform, div, gt, mean, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { RowContext } from '../../nn/context.js';
import { alphas, layerFields, modulesToSave, ranks, scale, targetFields } from '../frame/fields.js';
import { valueByEnd } from '../targets/pattern.js';

const probability = z.number().min(0).lt(1).default(0);

export const lycorisFields = {
  alpha: scale.default(8).describe('Scaling numerator: the update is scaled by alpha / r'),
  rank_dropout: probability.describe(
    'Dropout probability of the rows of the update (rank dropout)',
  ),
  module_dropout: probability.describe(
    'Probability of disabling the update of a layer during training',
  ),
  ...targetFields('query and value projections'),
  modules_to_save: modulesToSave,
  ...layerFields,
  rank_pattern: ranks,
  alpha_pattern: alphas('alpha'),
};

interface Sizes {
  readonly r: number;
  readonly alpha: number;
  readonly rank_pattern: Readonly<Record<string, number>>;
  readonly alpha_pattern: Readonly<Record<string, number>>;
}

/** Returns the rank by path. @throws DomainError for an invalid pattern */
export const ranksOf = (options: Sizes): ((path: string) => number) =>
  valueByEnd(options.rank_pattern, 'peft.rank_pattern', options.r);

/** Returns the alpha by path. @throws DomainError for an invalid pattern */
export const alphasOf = (options: Sizes): ((path: string) => number) =>
  valueByEnd(options.alpha_pattern, 'peft.alpha_pattern', options.alpha);

/**
 * Returns a mask [out]: 0 with probability p, else 1, or, if `weighed`, the inverse of the share of nonzero elements.
 */
export function keptRows(
  { key, module }: RowContext,
  p: number,
  out: number,
  weighed: boolean,
): Tensor {
  const kept = to(gt(counterUniform([out], { ...key, site: module }), p), 'f32');
  return weighed ? div(kept, clamp(mean(kept), 1 / out)) : kept;
}

/** Whether this forward pass skips the update. Drawn after the rows' values in their stream. */
export const isLeftOut = ({ key, module }: RowContext, p: number, out: number): boolean =>
  counterUniform([1], { ...key, site: module }, out).item() < p;
