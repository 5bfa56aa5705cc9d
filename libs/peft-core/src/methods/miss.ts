/**
 * MiSS, arXiv:2409.15371: chunks of the input share one small matrix.
 *   y = x Wᵀ + b + (Σ_c x_c) D            x_c: [n, r], the in/r chunks of x, the last one padded with zeros
 * D: [r, out]; with init_weights "mini", D is a block [r, mini_r] repeated over the outputs. "bat" makes the update
 * depend on the weight, with one block for every r outputs:
 *   W'_oc = W_oc + (W_oc + I) D_o         W_oc: [r, r], the blocks of W    D: [out/r, r, r]
 * D is f32 and starts at zero. Products with x are computed in its dtype, and W' in f32. The sum of chunks is a product
 * too, x Pᵀ with P [r, in] of ones and zeros: slightly faster than adding rows of r numbers.
 */
import {
  add,
  addmm,
  addmm_,
  call,
  counterDropout,
  eye,
  linear,
  matmul,
  narrow,
  permute,
  reshape,
  tidy,
  to,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import {
  checkLayers,
  dropout,
  layerFields,
  modulesToSave,
  rank,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate } from './frame/linear-method.js';

const Options = z
  .strictObject({
    r: rank
      .default(64)
      .describe('Rank: number of rows of the shared matrix and chunk size of the input'),
    miss_dropout: dropout,
    mini_r: rank
      .default(1)
      .describe(
        'Number of columns of the shared matrix with init_weights "mini". Must divide the output size',
      ),
    ...targetFields('query and value projections'),
    init_weights: z
      .union([z.boolean(), z.enum(['bat', 'mini'])])
      .default(true)
      .describe(
        'true: the standard variant; "bat": updates that depend on the weight; "mini": fewer parameters, set by mini_r; false: like true, randomly initialized, for tests',
      ),
    ...layerFields,
    bias: trainedBiases('MiSS_only'),
    modules_to_save: modulesToSave,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

export const miss = linearMethod<Options>({
  name: 'MISS',
  title: 'MiSS',
  summary:
    'Adds one small matrix shared by all chunks of the input: faster and lighter on memory than LoRA at the same size.',
  paper: 'https://arxiv.org/abs/2409.15371',
  // from PEFT's comparison of methods; its example and the paper use 2e-5, for many more steps
  relativeSize: 0.3,
  defaultLearningRate: 1e-4,
  trainingOnly: ['miss_dropout'],
  options: Options,
  unsupported: {},
  convertsToLora: true,
  tensors: { miss_block: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  check: refuseIdle,
  // the backward pass of W' needs the blocks of W in f32, and the product W'
  held: (targets, { init_weights: variant }) =>
    variant === 'bat' ? { numbers: 2 * numbersIn(targets) } : {},
  shapes: (options) => (linear) => ({ miss_block: blockShape(options, linear) }),
  adapt: (options) => (linear, parameters) => {
    const shape = blockShape(options, linear);
    const block =
      options.init_weights === false
        ? parameters.uniform('miss_block', shape, 1 / Math.sqrt(linear.outFeatures))
        : parameters.zeros('miss_block', shape);
    return options.init_weights === 'bat' ? dependent(block) : shared(block, options);
  },
});

/** Rejects options that PEFT accepts and ignores. */
function refuseIdle({ init_weights: variant, miss_dropout: p, mini_r: columns }: Options): void {
  if (variant === 'bat' && p > 0)
    refuse('miss_dropout', 'init_weights "bat" has no input of its own that could be dropped');
  if (variant !== 'mini' && columns !== 1)
    refuse('mini_r', 'mini_r is used with init_weights "mini" only');
}

function refuse(field: string, message: string): never {
  throw new DomainError('invalid_value', message, `peft.${field}`);
}

/** Returns the shape of the block. @throws DomainError if PEFT rejects the sizes */
function blockShape(
  { r, mini_r: columns, init_weights: variant }: Options,
  { path, inFeatures, outFeatures }: Size,
): number[] {
  const size = `${path}, which has ${inFeatures} inputs and ${outFeatures} outputs`;
  if (r > inFeatures) refuse('r', `expected r ≤ the inputs of ${size}, got ${r}`);
  if (variant === 'bat') {
    if (inFeatures % r !== 0 || outFeatures % r !== 0)
      refuse('r', `init_weights "bat" needs an r that divides both sizes of ${size}, got ${r}`);
    return [outFeatures / r, r, r];
  }
  if (variant !== 'mini') return [r, outFeatures];
  if (outFeatures % columns !== 0)
    refuse('mini_r', `expected a mini_r that divides the outputs of ${size}, got ${columns}`);
  return [r, columns];
}

/** Update by D, or by a block [r, columns] that is repeated to D, on the sum of the input's chunks. */
function shared(block: Tensor, { miss_dropout: p }: Options): LinearUpdate {
  const [r, columns] = block.shape as [number, number];
  return {
    after: (y: Tensor, x: Tensor, ctx: LinearContext) =>
      tidy(() => {
        const drops = ctx.training && p > 0;
        const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
        const summed = linear(seen, places(r, x));
        const d = to(block, x.dtype);
        if (columns === y.shape[1]) return (ctx.alone ? addmm_ : addmm)(y, summed, d);
        const tiled = reshape(y, [y.shape[0] as number, -1, columns]);
        return reshape(add(tiled, unsqueeze(matmul(summed, d), 1)), y.shape);
      }),
    merged(weight) {
      const [out, inputs] = weight.shape as [number, number];
      // columns of W at the same position in their chunk get the same row of D
      const turned = transpose(block, 0, 1);
      const rows = reshape(repeat(turned, out / columns, 1), [out, r]);
      const whole = repeat(rows, 1, Math.ceil(inputs / r));
      return { weight: add(weight, narrow(whole, 1, 0, inputs)) };
    },
  };
}

/** P [r, in]: 1 where a column of x has this position in its chunk. */
function places(r: number, x: Tensor): Tensor {
  const inputs = x.shape[1] as number;
  return narrow(repeat(eye(r, x.dtype), 1, Math.ceil(inputs / r)), 1, 0, inputs);
}

const repeat = (t: Tensor, down: number, across: number): Tensor =>
  call('aten::repeat', t, [down, across]) as Tensor;

/** Update by D, [out/r, r, r], on the blocks of the weight. */
function dependent(block: Tensor): LinearUpdate {
  const r = block.shape[1] as number;
  const adapted = (weight: Tensor): Tensor => {
    const [out, inputs] = weight.shape as [number, number];
    const blocks = permute(reshape(weight, [out / r, r, inputs / r, r]), [2, 0, 1, 3]);
    const update = add(matmul(blocks, block), block);
    return add(weight, reshape(permute(update, [1, 2, 0, 3]), [out, inputs]));
  };
  return {
    weight: (frozen, dtype) => tidy(() => to(adapted(frozen.dense('f32')), dtype)),
    merged: (weight) => ({ weight: adapted(weight) }),
  };
}
