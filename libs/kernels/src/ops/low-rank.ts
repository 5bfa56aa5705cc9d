/**
 * What adapters of low rank add to the rows of a product, each to its own rows (arXiv:2310.18547):
 *
 *   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's
 *
 * On the CPU, in f32 and bf16 (native/ops/low_rank.cpp). No gradients.
 */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';
import { isOwnOnCpu } from './instruction-set.js';

export interface LowRank {
  /** f32 [r, in] */
  readonly a: Tensor;
  /** f32 [out, r] */
  readonly b: Tensor;
  readonly scale: number;
}

/** An adapter's rows. */
export interface LowRankRows extends LowRank {
  readonly start: number;
  readonly length: number;
}

/** Whether `addLowRank_` is for these rows. */
export const hasLowRank = isOwnOnCpu;

/** y: [n, out] += …, x: [n, in], both of one dtype. Returns y. */
export const addLowRank_ = (y: Tensor, x: Tensor, adapters: readonly LowRankRows[]): Tensor =>
  one(
    'graft::add_low_rank_',
    y,
    x,
    adapters.map(({ a }) => a),
    adapters.map(({ b }) => b),
    adapters.map(({ scale }) => scale),
    adapters.flatMap(({ start, length }) => [start, length]),
  );
