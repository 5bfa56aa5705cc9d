/**
 * Adds low-rank adapters to rows of products, each adapter to its own rows (arXiv:2310.18547):
 *   y_i += s_j (x_i A_jᵀ) B_jᵀ      row i being one of adapter j's, y the product that j is for
 * On the CPU, in f32 and bf16 (native/ops/low_rank.cpp). No gradients.
 */
import { noGrad } from '../autograd.js';
import { run } from '../call.js';
import { KernelError } from '../errors.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { isOwnOnCpu } from './instruction-set.js';
import { cat, narrow, reshape, to, transpose, view } from './shape.js';

/** Factors in f32, or in the layout of `roundedFactors`. */
export interface Factors {
  /** [r, in] */
  readonly a: Tensor;
  /** [out, r] */
  readonly b: Tensor;
  /** Location of A's values, followed by those of Bᵀ. Default: the tensors A and B. */
  readonly within?: { readonly whole: Tensor; readonly at: number };
}

export interface LowRank extends Factors {
  readonly scale: number;
}

/** Rows of an adapter. */
export interface LowRankRows extends LowRank {
  readonly start: number;
  readonly length: number;
}

/** Whether `addLowRank_` supports these rows. */
export const hasLowRank = isOwnOnCpu;

/**
 * Rounds f32 factors to bf16 with the bits that bf16 rows multiply by, for adapters that are no longer trained. This
 * halves the memory to read. All factors are contiguous in reading order, B as Bᵀ, which halves the time to read it.
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

/** Adapters of a call; reusable while rows and factors are the same. */
export interface LowRankCall {
  /** Adapters of each product. */
  readonly adapters: readonly (readonly LowRankRows[])[];
  readonly tensors: readonly Tensor[];
  readonly scales: readonly number[];
  /** Same layout as in native/ops/low_rank.cpp. */
  readonly places: readonly number[];
}

/** @throws KernelError for an A and a B that do not match */
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

/** Adds to y_i [n, out_i] the adapters of product i. All read x [n, in]; all have one dtype. */
export const addLowRank_ = (ys: readonly Tensor[], x: Tensor, call: LowRankCall): void =>
  run('graft::add_low_rank_', ys, x, call.tensors, call.scales, call.places);
