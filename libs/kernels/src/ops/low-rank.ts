/**
 * What adapters of low rank add to the rows of products, each to its own rows (arXiv:2310.18547):
 *
 *   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's, y the product that j is for
 *
 * On the CPU, in f32 and bf16 (native/ops/low_rank.cpp). No gradients.
 */
import { noGrad } from '../autograd.js';
import { run } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { isOwnOnCpu } from './instruction-set.js';
import { cat, narrow, reshape, to, transpose, view } from './shape.js';

/** Both in f32, or as `roundedFactors` has them. */
export interface Factors {
  /** [r, in] */
  readonly a: Tensor;
  /** [out, r] */
  readonly b: Tensor;
}

export interface LowRank extends Factors {
  readonly scale: number;
}

/** An adapter's rows. */
export interface LowRankRows extends LowRank {
  readonly start: number;
  readonly length: number;
}

/** Whether `addLowRank_` is for these rows. */
export const hasLowRank = isOwnOnCpu;

/**
 * Factors of f32 in bf16, as rows in bf16 multiply by them with the same bits: of adapters that train no more. That is
 * half of what there is to read, and all of it lies in one piece, in order, B as Bᵀ does: memory is read in half the time
 * so (docs/log.md).
 */
export const roundedFactors = (all: readonly Factors[]): Factors[] =>
  noGrad(() =>
    tidy(() => {
      const flat = (t: Tensor): Tensor => reshape(to(t, 'bf16'), [-1]);
      const whole = cat(all.flatMap(({ a, b }) => [flat(a), flat(transpose(b, 0, 1))]));
      let at = 0;
      const next = (rows: number, columns: number): Tensor => {
        const part = view(narrow(whole, 0, at, rows * columns), [rows, columns]);
        at += rows * columns;
        return part;
      };
      return all.map(({ a, b }) => {
        const [r, inFeatures] = a.shape as [number, number];
        const down = next(r, inFeatures);
        return { a: down, b: transpose(next(r, b.shape[0] as number), 0, 1) };
      });
    }),
  );

/** y_i: [n, out_i] += what the adapters of the i-th add to it, x: [n, in] that all of them read, all of one dtype. */
export function addLowRank_(
  ys: readonly Tensor[],
  x: Tensor,
  adapters: readonly (readonly LowRankRows[])[],
): void {
  const all = adapters.flat();
  run(
    'graft::add_low_rank_',
    ys,
    x,
    all.map(({ a }) => a),
    all.map(({ b }) => b),
    all.map(({ scale }) => scale),
    adapters.flatMap((of, product) => of.flatMap(({ start, length }) => [product, start, length])),
  );
}
