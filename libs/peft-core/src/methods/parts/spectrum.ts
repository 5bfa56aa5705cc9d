/**
 * Trainable positions of an update, drawn as in PEFT: the first of a permutation of all, from PyTorch's CPU generator.
 * Files do not store them; the seed determines them.
 */
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import {
  add,
  addmm,
  addmm_,
  call,
  keep,
  reshape,
  tensor,
  tidy,
  to,
  transpose,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { LinearShape } from '../../nn/outline/outline.js';
import { TorchGenerator, WIDE_PERMUTATION } from '../reference-math/torch-generator.js';
import { valueByEnd } from '../targets/pattern.js';
import { targetFields, targetOptions } from '../frame/fields.js';
import type { Role, LinearContext } from '../../nn/layers/linear.js';
import type { LinearUpdate } from '../frame/linear-update.js';
import type { Merged } from '../frame/merged-linear.js';

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

const frequencies = z.int().min(1);

/** Schema of the number of trained positions per linear layer; `usual` is the default. */
export const frequencyCount = (usual: number, where: string) =>
  frequencies
    .default(usual)
    .describe(`Number of trainable coefficients per layer, at random positions ${where}`);

const USUAL = 'query and value projections (GPT-2: the last feed-forward layer)';

/** PEFT fields of the methods that train positions of a spectrum. @param ownBias as in `targetOptions` */
export const spectrumOptions = (ownBias: string) => ({
  random_loc_seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(777)
    .describe('Random seed of the trainable positions; must match the adapter'),
  ...targetFields(USUAL),
  ...targetOptions(USUAL, ownBias),
  n_frequency_pattern: z
    .record(z.string(), frequencies)
    .default({})
    .describe(
      'Values that differ from the default n_frequency, by module name or regular expression',
    ),
});

interface Counts {
  readonly n_frequency: number;
  readonly n_frequency_pattern: Readonly<Record<string, number>>;
}

/** Returns the number of trained positions by path. @throws DomainError for an invalid pattern */
export const countsOf = (options: Counts): ((path: string) => number) =>
  valueByEnd(options.n_frequency_pattern, 'peft.n_frequency_pattern', options.n_frequency);

/** Default targets of model types for which PEFT's default is not query and value. */
const TARGETS: Readonly<Record<string, readonly Role[]>> = { gpt2: ['down'] };

export const spectrumTargets = (modelType: string): readonly Role[] =>
  TARGETS[modelType] ?? ['q', 'v'];

/** Update y = x Wᵀ + b + x ΔWᵀ that computes the whole ΔW in each forward pass. */
export abstract class SpectrumUpdate implements LinearUpdate {
  /** Computes ΔW: [out, in], f32. */
  protected abstract update(): Tensor;
  abstract dispose(): void;

  after(y: Tensor, x: Tensor, { alone }: LinearContext): Tensor {
    return tidy(() => (alone ? addmm_ : addmm)(y, x, transpose(to(this.update(), x.dtype), 0, 1)));
  }

  merged(weight: Tensor): Merged {
    return { weight: add(weight, this.update()) };
  }
}

/** Returns the number of positions of a linear layer. @throws DomainError if there are too many to draw from */
export function placesIn({ path, inFeatures, outFeatures }: Size): number {
  const all = inFeatures * outFeatures;
  if (all < WIDE_PERMUTATION) return all;
  const message = `${path} has ${all} values; at most ${WIDE_PERMUTATION - 1} are supported: choose other target_modules`;
  throw new DomainError('unsupported', message, 'peft.target_modules');
}

/**
 * Checks the number of trained positions. @throws DomainError if a linear layer has fewer positions, or too many to
 * draw from
 */
export function checkPlaces(count: number, linear: Size): number {
  const { path } = linear;
  const all = placesIn(linear);
  if (count <= all) return count;
  const message = `expected n_frequency ≤ the ${all} values of ${path}, got ${count}`;
  throw new DomainError('invalid_value', message, 'peft.n_frequency');
}

/** Draws flat, row-major positions of a matrix [out, in]. */
export const drawPlaces = (
  count: number,
  seed: number,
  { inFeatures, outFeatures }: Omit<Size, 'path'>,
): Int32Array => new TorchGenerator(seed).permutation(inFeatures * outFeatures, count);

/** Creates indices [count], i64, one tensor per dimension. The caller frees them. */
export const indices = (
  places: Int32Array,
  ...dimensions: ((place: number) => number)[]
): Tensor[] =>
  dimensions.map((at) => keep(tidy(() => tensor(Array.from(places, at), [places.length], 'i64'))));

/** Returns a matrix [out, in] with values [n] at flat positions (i64 [n]) and 0 elsewhere. */
export const scattered = (
  values: Tensor,
  places: Tensor,
  { outFeatures, inFeatures }: Omit<Size, 'path'>,
): Tensor => {
  const empty = zeros([outFeatures * inFeatures], values.dtype);
  const filled = call('aten::scatter_add', empty, 0, places, values) as Tensor;
  return reshape(filled, [outFeatures, inFeatures]);
};
