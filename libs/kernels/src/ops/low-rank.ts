/**
 * What adapters of low rank add to the rows of products, each to its own rows (arXiv:2310.18547):
 *
 *   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's, y the product that j is for
 *
 * On the CPU, in f32 and bf16 (native/ops/low_rank.cpp). No gradients.
 */
import { noGrad } from '../autograd.js';
import { run } from '../call.js';
import { KernelError } from '../errors.js';
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
  /** Where the numbers of A lie, and behind them those of Bᵀ; left out, where A and B do. */
  readonly within?: { readonly whole: Tensor; readonly at: number };
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
export const roundedFactors = (all: readonly Factors[]): Required<Factors>[] =>
  noGrad(() =>
    tidy(() => {
      const flat = (t: Tensor): Tensor => reshape(to(t, 'bf16'), [-1]);
      const whole = cat(all.flatMap(({ a, b }) => [flat(a), flat(transpose(b, 0, 1))]));
      let next = 0;
      return all.map(({ a, b }) => {
        const [r, inFeatures] = a.shape as [number, number];
        const [outFeatures] = b.shape as [number];
        const at = next;
        next += r * (inFeatures + outFeatures);
        const part = (from: number, columns: number): Tensor =>
          view(narrow(whole, 0, from, r * columns), [r, columns]);
        const up = transpose(part(at + r * inFeatures, outFeatures), 0, 1);
        return { a: part(at, inFeatures), b: up, within: { whole, at } };
      });
    }),
  );

/** What a call says of adapters: the same for as long as their rows and factors are. */
export interface LowRankCall {
  /** By number of the product. */
  readonly adapters: readonly (readonly LowRankRows[])[];
  readonly tensors: readonly Tensor[];
  readonly scales: readonly number[];
  /** As native/ops/low_rank.cpp has it. */
  readonly places: readonly number[];
}

/** @throws KernelError for an A and a B that do not fit each other */
export function lowRankCall(adapters: LowRankCall['adapters']): LowRankCall {
  const numbers = new Map<Tensor, number>();
  const numberOf = (t: Tensor): number => {
    const known = numbers.get(t) ?? numbers.size;
    numbers.set(t, known);
    return known;
  };
  const scales: number[] = [];
  const places: number[] = [];
  for (const [product, of] of adapters.entries())
    for (const { a, b, within, scale, start, length } of of) {
      const [rank, inFeatures] = a.shape as [number, number];
      if (b.shape[1] !== rank) refuse(a, b);
      scales.push(scale);
      places.push(product, start, length, rank);
      if (within) {
        const number = numberOf(within.whole);
        places.push(number, within.at, number, within.at + rank * inFeatures);
      } else places.push(numberOf(a), 0, numberOf(b), 0);
    }
  return { adapters, tensors: [...numbers.keys()], scales, places };
}

function refuse({ shape: a }: Tensor, { shape: b }: Tensor): never {
  const message = `lowRankCall: factors [${a.join(', ')}] and [${b.join(', ')}] do not fit each other`;
  throw new KernelError('lowRankCall', message);
}

/** y_i: [n, out_i] += what the adapters of the i-th add to it, x: [n, in] that all of them read, all of one dtype. */
export const addLowRank_ = (ys: readonly Tensor[], x: Tensor, call: LowRankCall): void =>
  run('graft::add_low_rank_', ys, x, call.tensors, call.scales, call.places);
