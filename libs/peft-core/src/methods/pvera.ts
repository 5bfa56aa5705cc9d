/**
 * PVeRA, arXiv:2512.07703: VeRA with an inner vector that is sampled in training; inference uses its mean.
 *   μ, ℓ = δ ⊙ (x Aᵀ), the first r and the last r      h = μ + ε ⊙ exp(ℓ / 2), ε ~ N(0, 1)      h = μ once trained
 *   y = x Wᵀ + b + β ⊙ (h Bᵀ)
 * x: [n, in]  A: [2 r, in]  B: [out, r], the first columns and rows of shared random matrices  δ: [2 r]  β: [out]. All
 * are f32; products are computed in x's dtype, exp in f32. Dropout acts on A's input x. β starts at zero.
 */
import {
  add,
  call,
  counterDropout,
  counterNormal,
  full,
  linear,
  matmul,
  mul,
  narrow,
  tidy,
  to,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import { checkLayers, dropout, rank, targetOptions } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { projectionNumbers, Projections, projectionFields } from './parts/projections.js';

const Options = z
  .strictObject({
    r: rank.default(256).describe('Rank of the shared random matrices'),
    ...projectionFields,
    pvera_dropout: dropout,
    d_initial: z
      .number()
      .default(0.1)
      .describe('Initial value of the scaling vector between the matrices'),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...targetOptions('query and value projections', 'pvera_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const pvera = linearMethod<Options, Projections>({
  name: 'PVERA',
  title: 'PVeRA',
  summary:
    'Probabilistic VeRA, which samples its inner vector during training: as small, and more stable with little data.',
  paper: 'https://arxiv.org/abs/2512.07703',
  // from PEFT's comparison of methods
  relativeSize: 0.012,
  defaultLearningRate: 3e-3,
  trainingOnly: ['pvera_dropout'],
  options: Options,
  unsupported: { sample_at_inference: false, generator_seed: null },
  reasons: {
    sample_at_inference: 'the same prompt would give a different output in each forward pass',
    generator_seed: "random numbers depend only on the job's seed, so that a run can resume",
  },
  unwritten: ({ save_projection: saved }) => (saved ? [] : ['projection_prng_key']),
  tensors: {
    pvera_lambda_b: 'parameter',
    pvera_lambda_d: 'parameter',
    pvera_A: 'shared',
    pvera_B: 'shared',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  held: (targets, { r }) => ({
    numbers: projectionNumbers(targets, 2 * r, r),
    // the factor of δ, the noise and its scale in f32, their sum, and the factor of β
    perRow: targets.reduce((sum, { outFeatures }) => sum + 9 * r + outFeatures, 0),
  }),
  shapes:
    ({ r }) =>
    ({ outFeatures }) => ({ pvera_lambda_b: [outFeatures], pvera_lambda_d: [2 * r] }),
  shared: {
    shapes: () => ({}),
    make: (targets, { r, projection_prng_key: key, save_projection: saved }, parameters, dtype) =>
      new Projections(
        targets,
        { parts: ['pvera_A', 'pvera_B'], rows: 2 * r, r, key, saved, dtype },
        parameters,
      ),
  },
  adapt: (options) => (target, parameters, projections) =>
    new PveraLinear(target, options, projections, parameters),
});

/** PVeRA update of one linear layer. */
class PveraLinear implements LinearUpdate {
  readonly #b: Tensor;
  readonly #d: Tensor;

  constructor(
    private readonly target: Linear,
    private readonly options: Options,
    private readonly projections: Projections,
    parameters: ModuleParameters,
  ) {
    const { r, d_initial: initial, init_weights: init } = options;
    const { outFeatures } = target;
    this.#b = init
      ? parameters.zeros('pvera_lambda_b', [outFeatures])
      : parameters.ones('pvera_lambda_b', [outFeatures]);
    this.#d = init
      ? parameters.parameter('pvera_lambda_d', () => full([2 * r], initial))
      : parameters.normal('pvera_lambda_d', [2 * r], 1);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => {
      const [down, up] = this.projections.of(this.target, x.dtype);
      const inner = ctx.training ? this.#drawn(x, down, ctx) : this.#mean(x, down);
      return add(y, mul(linear(inner, up), to(this.#b, x.dtype)));
    });
  }

  merged(weight: Tensor): Merged {
    const { r } = this.options;
    const [down, up] = this.projections.of(this.target, 'f32');
    const means = mul(narrow(down, 0, 0, r), unsqueeze(narrow(this.#d, 0, 0, r), 1));
    return { weight: add(weight, matmul(mul(up, unsqueeze(this.#b, 1)), means)) };
  }

  #mean(x: Tensor, down: Tensor): Tensor {
    const { r } = this.options;
    return mul(linear(x, narrow(down, 0, 0, r)), to(narrow(this.#d, 0, 0, r), x.dtype));
  }

  #drawn(x: Tensor, down: Tensor, { key, module }: LinearContext): Tensor {
    const { r, pvera_dropout: p } = this.options;
    const stream = { ...key, site: module };
    const seen = p > 0 ? counterDropout(x, p, stream) : x;
    const both = mul(linear(seen, down), to(this.#d, x.dtype));
    const deviation = call('aten::exp', mul(to(narrow(both, 1, r, r), 'f32'), 0.5)) as Tensor;
    // after the random numbers of dropout
    const noise = counterNormal([x.shape[0] as number, r], stream, x.size);
    return add(narrow(both, 1, 0, r), to(mul(deviation, noise), x.dtype));
  }
}
