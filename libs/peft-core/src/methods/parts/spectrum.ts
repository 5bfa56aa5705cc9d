/**
 * Places of an update that train, drawn as PEFT draws them: the first of a permutation of all, by PyTorch's generator
 * on a CPU. They are not in files; a seed tells them.
 */
import { DomainError } from '@graft/contracts';
import { call, keep, reshape, tensor, tidy, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { LinearShape } from '../../nn/outline/outline.js';
import { TorchGenerator, WIDE_PERMUTATION } from '../reference-math/torch-generator.js';

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

/** Numbers of a linear, among which places are drawn. @throws DomainError where they are too many */
export function placesIn({ path, inFeatures, outFeatures }: Size): number {
  const all = inFeatures * outFeatures;
  if (all < WIDE_PERMUTATION) return all;
  const message = `${path} has ${all} numbers; places are drawn among fewer than ${WIDE_PERMUTATION}: choose other target_modules`;
  throw new DomainError('unsupported', message, 'peft.target_modules');
}

/** @throws DomainError where a linear has fewer places, or too many to draw among */
export function checkPlaces(count: number, linear: Size): number {
  const { path } = linear;
  const all = placesIn(linear);
  if (count <= all) return count;
  const message = `expected n_frequency ≤ the ${all} numbers of ${path}, got ${count}`;
  throw new DomainError('invalid_value', message, 'peft.n_frequency');
}

/** Places in a matrix [out, in], row by row. */
export const drawPlaces = (
  count: number,
  seed: number,
  { inFeatures, outFeatures }: Omit<Size, 'path'>,
): Int32Array => new TorchGenerator(seed).permutation(inFeatures * outFeatures, count);

/** Indices [count], i64, one tensor for each dimension; the caller's to free. */
export const indices = (
  places: Int32Array,
  ...dimensions: ((place: number) => number)[]
): Tensor[] =>
  dimensions.map((at) => keep(tidy(() => tensor(Array.from(places, at), [places.length], 'i64'))));

/** A matrix [out, in] of values [n] at places of the flat one (i64 [n]), else 0. */
export const scattered = (
  values: Tensor,
  places: Tensor,
  { outFeatures, inFeatures }: Omit<Size, 'path'>,
): Tensor => {
  const empty = zeros([outFeatures * inFeatures], values.dtype);
  const filled = call('aten::scatter_add', empty, 0, places, values) as Tensor;
  return reshape(filled, [outFeatures, inFeatures]);
};
