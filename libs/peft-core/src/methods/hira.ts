/**
 * HiRA, ICLR 2025 (https://openreview.net/forum?id=TwJrTz9cRS): a low-rank matrix scales the weight element by element,
 * which gives an update as high in rank as the weight.
 *   y = x Wᵀ + b + x (W ⊙ (B A))ᵀ
 * x: [n, in]  W: [out, in]  A: [r, in]  B: [out, r], both f32; W ⊙ (B A) and products with it are computed in x's
 * dtype. Dropout acts on the x of the update. B starts at zero. For a convolution, files store A and B in LoRA's
 * shapes.
 */
import {
  add,
  addmm,
  addmm_,
  counterDropout,
  matmul,
  mul,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear } from '../nn/layers/linear.js';
import {
  checkLayers,
  dropout,
  fanInFanOut,
  layerFields,
  modulesToSave,
  rank,
  targetFields,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate } from './frame/linear-method.js';
import { flat } from './lora/lora-convolution.js';
import { factorShapes } from './lora/lora-variants.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank.default(32).describe('Rank of the matrix that modulates the weight'),
    ...targetFields('query and value projections'),
    hira_dropout: dropout,
    fan_in_fan_out: fanInFanOut,
    modules_to_save: modulesToSave,
    init_weights: z
      .union([z.boolean(), z.enum(['gaussian'])])
      .default(true)
      .describe(
        'true: the adapter is initialized to a no-op; "gaussian": also, with normally distributed A; false: randomly, for tests',
      ),
    ...layerFields,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const hira = linearMethod<Options>({
  name: 'HIRA',
  title: 'HiRA',
  summary:
    'Multiplies each weight elementwise by a low-rank matrix: full rank with as many parameters as LoRA.',
  paper: 'https://openreview.net/forum?id=TwJrTz9cRS',
  // from PEFT's comparison of methods
  relativeSize: 0.38,
  defaultLearningRate: 4.5e-3,
  trainingOnly: ['hira_dropout'],
  options: Options,
  unsupported: { rank_pattern: {} },
  reasons: { rank_pattern: 'PEFT accepts it but uses rank r for every layer' },
  tensors: { hira_A: 'parameter', hira_B: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  convolutions: [1, 2],
  // W ⊙ (B A), and W if it is quantized
  held: (targets) => ({ numbers: 2 * numbersIn(targets) }),
  shapes:
    ({ r }) =>
    (linear) => {
      const { lora_A: a, lora_B: b } = factorShapes(linear, null, r);
      return { hira_A: a, hira_B: b };
    },
  adapt: (options) => (target, parameters) =>
    update(target, options, factors(target, options, parameters)),
  // PEFT's file stores the requested value, independent of the layout of the model's weights
  resolved: ({ fan_in_fan_out: asked }) => ({ fan_in_fan_out: asked }),
});

function factors(
  target: Linear,
  { r, init_weights: init }: Options,
  parameters: ModuleParameters,
): [a: Tensor, b: Tensor] {
  const { inFeatures } = target;
  const { lora_A, lora_B } = factorShapes(target, null, r);
  const shapes = { a: lora_A, b: lora_B };
  if (init === false)
    return [parameters.normal('hira_A', shapes.a, 1), parameters.normal('hira_B', shapes.b, 1)];
  const a =
    init === 'gaussian'
      ? parameters.normal('hira_A', shapes.a, 1 / r)
      : parameters.uniform('hira_A', shapes.a, 1 / Math.sqrt(inFeatures));
  return [a, parameters.zeros('hira_B', shapes.b)];
}

const update = (
  target: Linear,
  { hira_dropout: p }: Options,
  [a, b]: readonly [Tensor, Tensor],
): LinearUpdate => ({
  after: (y, x, ctx) =>
    tidy(() => {
      const drops = ctx.training && p > 0;
      const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
      const low = matmul(to(flat(b), x.dtype), to(flat(a), x.dtype));
      const scaled = mul(target.weight.dense(x.dtype), low);
      return (ctx.alone ? addmm_ : addmm)(y, seen, transpose(scaled, 0, 1));
    }),
  merged: (weight) => ({ weight: add(weight, mul(weight, matmul(flat(b), flat(a)))) }),
});
