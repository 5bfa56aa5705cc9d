/**
 * C3A, arXiv:2407.19342: an update of circulant blocks, with few parameters and full rank.
 *   y = x Wᵀ + b + x Cᵀ / in      C[o s + p, i s + q] = k[o, i, (q - p) mod s]
 * x: [n, in]  W, C: [out, in]  k: [out/s, in/s, s], where the block size s divides both. The product of a block is a
 * correlation, which Fourier transforms turn into a product per frequency. C itself is computed only for a merge:
 *   (x Cᵀ)[o] = F⁻¹ Σᵢ F x[i] · conj(F k[o, i])
 * The gradients follow from this formula; PEFT 0.21 passes the input a different gradient, that of k reversed. k and
 * the transforms are f32; their results are rounded to y's dtype.
 */
import {
  add,
  conj,
  div,
  einsum,
  eye,
  irfft,
  reshape,
  rfft,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearShape } from '../nn/outline/outline.js';
import {
  checkLayers,
  layerFields,
  modulesToSave,
  targetNames,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf, outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { valueByEnd } from './targets/pattern.js';

const Options = z
  .strictObject({
    block_size: z
      .int()
      .min(1)
      .default(256)
      .describe(
        'Size of the circulant blocks. Must divide the input and output size of every target module. Larger blocks have fewer trainable parameters',
      ),
    target_modules: targetNames('query and value projections'),
    bias: trainedBiases('c3a_only'),
    modules_to_save: modulesToSave,
    ...layerFields,
    block_size_pattern: z
      .record(z.string(), z.int().min(1))
      .default({})
      .describe('Block sizes that differ from the default, by module name or regular expression'),
    init_weights: z
      .union([z.boolean(), z.enum(['gaussian', 'kaiming_uniform', 'xavier_uniform'])])
      .default('xavier_uniform')
      .describe(
        'Initialization: true: zero (no-op); otherwise random, scaled down by the input size to nearly zero',
      ),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const c3a = linearMethod<Options>({
  name: 'C3A',
  title: 'C3A',
  summary:
    'Adds block-circulant updates, computed with Fourier transforms: full rank with few parameters.',
  paper: 'https://arxiv.org/abs/2407.19342',
  // PEFT's comparison of methods; the update is divided by the inputs, the paper's rates lie between 0.05 and 1
  defaultLearningRate: 3e-1,
  options: Options,
  unsupported: {},
  convertsToLora: true,
  tensors: { c3a_kernel: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  // the spectrum of x, in f32 and by frequency
  held: (targets) => ({ perRow: 6 * inputsOf(targets) + 2 * outputsOf(targets) }),
  check: (options) => void sizesOf(options),
  shapes(options) {
    const sizeOf = sizesOf(options);
    return (linear) => ({ c3a_kernel: kernelShape(sizeOf(linear.path), linear) });
  },
  adapt(options) {
    const sizeOf = sizesOf(options);
    return (linear, parameters) =>
      circulant(initial(options, kernelShape(sizeOf(linear.path), linear), linear, parameters));
  },
});

const sizesOf = (options: Options): ((path: string) => number) =>
  valueByEnd(options.block_size_pattern, 'peft.block_size_pattern', options.block_size);

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;
type Kernel = readonly [out: number, inner: number, size: number];

/** Returns the shape of the kernel. @throws DomainError if PEFT rejects the sizes */
function kernelShape(size: number, { path, inFeatures, outFeatures }: Size): Kernel {
  if (inFeatures % size === 0 && outFeatures % size === 0)
    return [outFeatures / size, inFeatures / size, size];
  const message = `block_size must divide the ${inFeatures} inputs and ${outFeatures} outputs of ${path}, got ${size}; the largest that does is ${commonDivisor(inFeatures, outFeatures)}`;
  throw new DomainError('invalid_value', message, 'peft.block_size');
}

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

function initial(
  { init_weights: init }: Options,
  shape: Kernel,
  { inFeatures, outFeatures }: Size,
  parameters: ModuleParameters,
): Tensor {
  if (init === true) return parameters.zeros('c3a_kernel', shape);
  if (init === 'gaussian') return parameters.normal('c3a_kernel', shape, 1);
  const bound =
    init === 'kaiming_uniform'
      ? Math.sqrt(1 / inFeatures)
      : Math.sqrt(6 / (inFeatures + outFeatures));
  return parameters.uniform('c3a_kernel', shape, bound);
}

function circulant(kernel: Tensor): LinearUpdate {
  const [, inner, size] = kernel.shape as unknown as Kernel;
  const inputs = inner * size;
  /** t C for rows t: [n, in] → [n, out] */
  const correlated = (t: Tensor): Tensor => {
    const spectrum = rfft(reshape(t, [-1, inner, size]));
    const products = einsum('nif,oif->nof', spectrum, conj(rfft(kernel)));
    return reshape(div(irfft(products, size), inputs), [t.shape[0] as number, -1]);
  };
  return {
    after: (y, x) => tidy(() => add(y, to(correlated(to(x, 'f32')), y.dtype))),
    // C applied to the identity is Cᵀ
    merged: (weight): Merged => ({
      weight: add(weight, transpose(correlated(eye(inputs)), 0, 1)),
    }),
  };
}
