/**
 * DeLoRA, arXiv:2503.18225: LoRA with normalized directions, so that one trained number bounds the size of the update.
 *   y = x Wᵀ + b + (x ⊙ w) Aᵀ D Bᵀ      D = diag(λ / (r ‖A_i‖ ‖B_i‖)),  norms at least 1e-4
 * x: [n, in]  A: [r, in], A_i its rows  B: [out, r], B_i its columns  λ: [1]  w: [in], the norms of W's columns, stored
 * in files. All are f32, and w is rounded to the base's dtype as in PEFT; products with x are computed in its dtype.
 * PEFT's module_dropout is dropout of x. B starts at zero.
 */
import {
  add,
  addmm,
  addmm_,
  clamp,
  counterDropout,
  div,
  full,
  linear,
  matmul,
  mul,
  norm,
  tidy,
  to,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { BaseDtype } from '../nn/precision.js';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import {
  checkLayers,
  dropout,
  layerFields,
  modulesToSave,
  rank,
  ranks,
  scale,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate, Merged, SharedState } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { valueByEnd } from './targets/pattern.js';

const SMALLEST_NORM = 1e-4;

const Options = z
  .strictObject({
    r: rank.default(8).describe('Rank of the update'),
    delora_lambda: scale
      .default(15)
      .describe('Initial value of the trainable bound (lambda) of the update'),
    module_dropout: dropout,
    ...targetFields('query and value projections'),
    bias: trainedBiases('delora_only'),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...layerFields,
    rank_pattern: ranks,
    lambda_pattern: z
      .record(z.string(), scale)
      .default({})
      .describe(
        'Values that differ from the default delora_lambda, by module name or regular expression',
      ),
    modules_to_save: modulesToSave,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

/** Dtype with which PEFT computes the norms of columns. */
interface Precision extends SharedState {
  readonly dtype: BaseDtype;
}

const ranksOf = (options: Options): ((path: string) => number) =>
  valueByEnd(options.rank_pattern, 'peft.rank_pattern', options.r);

const boundsOf = (options: Options): ((path: string) => number) =>
  valueByEnd(options.lambda_pattern, 'peft.lambda_pattern', options.delora_lambda);

export const delora = linearMethod<Options, Precision>({
  name: 'DELORA',
  title: 'DeLoRA',
  summary:
    'LoRA with a trainable bound on the norm of the update. Robust to high learning rates and long training.',
  paper: 'https://arxiv.org/abs/2503.18225',
  // from PEFT's comparison of methods
  relativeSize: 0.09,
  defaultLearningRate: 1e-3,
  trainingOnly: ['module_dropout'],
  options: Options,
  unsupported: {},
  convertsToLora: true,
  tensors: {
    delora_A: 'parameter',
    delora_B: 'parameter',
    delora_lambda: 'parameter',
    delora_w_norm: 'parameter',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  check(options) {
    ranksOf(options);
    boundsOf(options);
  },
  shapes(options) {
    const rankOf = ranksOf(options);
    return ({ path, inFeatures, outFeatures }) => ({
      delora_A: [rankOf(path), inFeatures],
      delora_B: [outFeatures, rankOf(path)],
      delora_lambda: [1],
    });
  },
  shared: {
    shapes: () => ({}),
    make: (_targets, _options, _parameters, dtype) => ({ dtype }),
  },
  adapt(options) {
    const [rankOf, boundOf] = [ranksOf(options), boundsOf(options)];
    return (target, parameters, { dtype }) => {
      const size = { r: rankOf(target.path), bound: boundOf(target.path), dtype };
      return new DeloraLinear(target, options, size, parameters);
    };
  },
});

interface Start {
  readonly r: number;
  readonly bound: number;
  readonly dtype: BaseDtype;
}

/** DeLoRA update of one linear layer. */
class DeloraLinear implements LinearUpdate {
  readonly #a: Tensor;
  readonly #b: Tensor;
  readonly #lambda: Tensor;
  readonly #columns: Tensor;
  readonly #r: number;

  constructor(
    { weight, inFeatures, outFeatures }: Linear,
    private readonly options: Options,
    { r, bound, dtype }: Start,
    parameters: ModuleParameters,
  ) {
    this.#r = r;
    this.#a = parameters.uniform('delora_A', [r, inFeatures], 1 / Math.sqrt(inFeatures));
    this.#b = options.init_weights
      ? parameters.zeros('delora_B', [outFeatures, r])
      : parameters.uniform('delora_B', [outFeatures, r], 1 / Math.sqrt(r));
    this.#lambda = parameters.parameter('delora_lambda', () => full([1], bound));
    this.#columns = parameters.constant('delora_w_norm', () =>
      to(norm(weight.dense('f32'), 2, [0]), dtype),
    );
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { module_dropout: p } = this.options;
    return tidy(() => {
      const drops = ctx.training && p > 0;
      const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
      const low = linear(seen, to(this.#down(), x.dtype));
      const up = transpose(to(this.#b, x.dtype), 0, 1);
      return (ctx.alone ? addmm_ : addmm)(y, low, up);
    });
  }

  merged(weight: Tensor): Merged {
    return { weight: add(weight, matmul(this.#b, this.#down())) };
  }

  /** D A ⊙ w: [r, in] */
  #down(): Tensor {
    const norms = mul(
      clamp(norm(this.#a, 2, [1]), SMALLEST_NORM),
      clamp(norm(this.#b, 2, [0]), SMALLEST_NORM),
    );
    const d = div(div(this.#lambda, this.#r), norms);
    return mul(mul(this.#a, this.#columns), unsqueeze(d, 1));
  }
}
