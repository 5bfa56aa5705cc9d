/**
 * Sums of matrices that several adapters hold in the same place, T_i, by weights w_i:
 *   task arithmetic, arXiv:2212.04089   Σ w_i T_i
 *   magnitude_prune                     Σ w_i top(T_i)           top: the density · n numbers largest in magnitude, else 0
 *   DARE, arXiv:2311.03099              Σ w_i m_i ⊙ T_i / density            m_i: Bernoulli(density)
 *   TIES, arXiv:2306.01708              Σ w_i k_i ⊙ T'_i / max(1, Σ k_i)     T'_i: pruned, k_i = [sign T'_i = γ]
 *                                       γ = sign Σ T'_i (total) or sign Σ sign T'_i (frequency), + where that is 0
 * T_i: the same shape, f32.
 */
import {
  abs,
  clamp,
  div,
  eq,
  full,
  ge,
  gt,
  indexPut,
  lt,
  mul,
  reshape,
  stack,
  sub,
  sum,
  tensor,
  to,
  topk,
  where,
  zerosLike,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { pruningOf } from '@graft/contracts';
import type { Combination } from '@graft/contracts';
import type { TorchGenerator } from '../methods/reference-math/torch-generator.js';

type Signs = NonNullable<Combination['majority_sign_method']>;

/** Returns the weighted sum. @param masks source of DARE's masks, one mask per matrix in order */
export function weightedSum(
  matrices: readonly Tensor[],
  weights: readonly number[],
  how: Combination,
  masks: TorchGenerator,
): Tensor {
  const { density = 1, majority_sign_method: signs = 'total' } = how;
  const pruning = pruningOf(how.combination_type);
  const isRandom = pruning === 'dare_linear' || pruning === 'dare_ties';
  const prune = (matrix: Tensor): Tensor => {
    if (pruning === null || density === 1) return matrix;
    return isRandom ? dropped(matrix, density, masks) : largestOf(matrix, density);
  };
  const kept = matrices.map(prune);
  const weighted = kept.map((matrix, i) => mul(matrix, weights[i] as number));
  return pruning === 'ties' || pruning === 'dare_ties'
    ? disjointMean(weighted, withMajority(kept, signs))
    : sum(stack(weighted), [0]);
}

const size = ({ shape }: Tensor): number => shape.reduce((product, n) => product * n, 1);

function largestOf(matrix: Tensor, density: number): Tensor {
  const numel = size(matrix);
  const flat = reshape(matrix, [numel]);
  const { indices } = topk(abs(flat), Math.trunc(density * numel));
  const mask = indexPut(zerosLike(flat), [indices], full(indices.shape, 1));
  return mul(matrix, reshape(mask, matrix.shape));
}

function dropped(matrix: Tensor, density: number, masks: TorchGenerator): Tensor {
  const p = Math.fround(density);
  const mask = masks.uniform(size(matrix), 0, 1).map((value) => Number(value < p));
  return div(mul(matrix, tensor(mask, matrix.shape)), density);
}

/** Returns masks with 1 where an element has the majority sign. */
function withMajority(matrices: readonly Tensor[], signs: Signs): Tensor {
  const all = stack(matrices);
  const sign = sub(to(gt(all, 0), 'f32'), to(lt(all, 0), 'f32'));
  const balance = sum(signs === 'total' ? all : sign, [0]);
  const one = full(balance.shape, 1);
  return to(eq(sign, where(ge(balance, 0), one, mul(one, -1))), 'f32');
}

function disjointMean(weighted: readonly Tensor[], mask: Tensor): Tensor {
  const total = sum(mul(stack(weighted), mask), [0]);
  return div(total, clamp(sum(mask, [0]), 1));
}
