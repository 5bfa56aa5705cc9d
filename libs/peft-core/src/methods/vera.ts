/**
 * VeRA, arXiv:2310.11454: all linear layers share the random matrices A and B; each trains two vectors.
 *   y = x Wᵀ + b + β ⊙ ((δ ⊙ (x Aᵀ)) Bᵀ)
 * x: [n, in]  A: [r, in]  B: [out, r], the first columns and rows of the shared ones  δ: [r]  β: [out]. All are f32;
 * products are computed in x's dtype. Dropout acts on A's input x. β starts at zero.
 */
import {
  add,
  counterDropout,
  full,
  linear,
  matmul,
  mul,
  tidy,
  to,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear } from '../nn/layers/linear.js';
import { checkLayers, dropout, rank, targetOptions } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { projectionNumbers, Projections, projectionFields } from './parts/projections.js';
import { ALL_LINEAR } from './targets/targets.js';

const Options = z
  .strictObject({
    r: rank
      .default(256)
      .describe('Rank of the shared random matrices. Has little effect on the file size'),
    ...projectionFields,
    vera_dropout: dropout,
    d_initial: z
      .number()
      .default(0.1)
      .describe('Initial value of the scaling vector between the two matrices'),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...targetOptions('query and value projections', 'vera_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const vera = linearMethod<Options, Projections>({
  name: 'VERA',
  title: 'VeRA',
  summary:
    'Trains two scaling vectors per layer around random matrices shared by all layers: a tenth of the parameters of LoRA, or fewer.',
  paper: 'https://arxiv.org/abs/2310.11454',
  // from PEFT's comparison of methods
  relativeSize: 0.008,
  defaultLearningRate: 1e-3,
  tried: [{ target_modules: ALL_LINEAR }],
  trainingOnly: ['vera_dropout'],
  options: Options,
  unsupported: {},
  unwritten: ({ save_projection: saved }) => (saved ? [] : ['projection_prng_key']),
  convertsToLora: true,
  tensors: {
    vera_lambda_b: 'parameter',
    vera_lambda_d: 'parameter',
    vera_A: 'shared',
    vera_B: 'shared',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  held: (targets, { r }) => ({
    numbers: projectionNumbers(targets, r, r),
    // the tensors multiplied by δ and by β
    perRow: targets.reduce((sum, { outFeatures }) => sum + 2 * r + outFeatures, 0),
  }),
  shapes:
    ({ r }) =>
    ({ outFeatures }) => ({ vera_lambda_b: [outFeatures], vera_lambda_d: [r] }),
  shared: {
    shapes: () => ({}),
    make: (targets, { r, projection_prng_key: key, save_projection: saved }, parameters, dtype) =>
      new Projections(
        targets,
        { parts: ['vera_A', 'vera_B'], rows: r, r, key, saved, dtype },
        parameters,
      ),
  },
  adapt: (options) => (target, parameters, projections) =>
    update(target, options, projections, vectors(target, options, parameters)),
});

interface Vectors {
  readonly b: Tensor;
  readonly d: Tensor;
}

const vectors = (
  { outFeatures }: Linear,
  { r, d_initial: initial, init_weights: init }: Options,
  parameters: ModuleParameters,
): Vectors => ({
  b: init
    ? parameters.zeros('vera_lambda_b', [outFeatures])
    : parameters.ones('vera_lambda_b', [outFeatures]),
  d: init
    ? parameters.parameter('vera_lambda_d', () => full([r], initial))
    : parameters.normal('vera_lambda_d', [r], 1),
});

const update = (
  target: Linear,
  { vera_dropout: p }: Options,
  projections: Projections,
  { b, d }: Vectors,
): LinearUpdate => ({
  after: (y, x, ctx) =>
    tidy(() => {
      const drops = ctx.training && p > 0;
      const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
      const [down, up] = projections.of(target, x.dtype);
      const low = mul(linear(seen, down), to(d, x.dtype));
      return add(y, mul(linear(low, up), to(b, x.dtype)));
    }),
  merged(weight) {
    const [down, up] = projections.of(target, 'f32');
    return { weight: add(weight, matmul(mul(up, unsqueeze(b, 1)), mul(down, unsqueeze(d, 1)))) };
  },
});
