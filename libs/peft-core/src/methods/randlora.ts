/**
 * RandLoRA, arXiv:2502.00987: a weighted sum of enough random low-rank matrices to reach full rank.
 *   y = x Wᵀ + b + s x ΔWᵀ      ΔW = B̄ Ā, or (B̄ Ā)ᵀ where in > out,  s = α / r
 *   Ā[k n + i] = λ[k, i] A[k] ⊙ γ[i]      B̄[:, i r + k] = B[:, i, k]      i < n, k < r
 * m is the smaller and M the larger of in and out, n = ⌈m / r⌉, Ā: [r n, m], B̄: [M, n r]. As in PEFT, the rows of Ā
 * are ordered by k first and the columns of B̄ by i first. A: [r, 1, max m] and B: [max M, max n, r] are shared and
 * random, have standard deviation 1 and are rounded to the base's dtype. λ: [r, n], which starts at zero, and γ: [n, m]
 * are trainable. All are f32; products with x are computed in its dtype. Dropout acts on x.
 */
import {
  add,
  addmm,
  addmm_,
  counterDropout,
  full,
  linear,
  matmul,
  mul,
  narrow,
  reshape,
  tensor,
  tidy,
  to,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { BaseDtype } from '../nn/precision.js';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { checkLayers, dropout, rank, scale, targetOptions } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate, Merged, SharedState } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { largest, projectionFields } from './parts/projections.js';
import { TorchGenerator } from './reference-math/torch-generator.js';

/** Sparsity: on average one of three values is not zero. */
const SPARSE = 3;

const Options = z
  .strictObject({
    r: rank
      .default(32)
      .describe('Rank of each random matrix. Lower ranks have more trainable parameters'),
    ...projectionFields,
    sparse: z
      .boolean()
      .default(false)
      .describe('Use sparse random matrices of -1, 0 and 1 (one third nonzero)'),
    very_sparse: z
      .boolean()
      .default(false)
      .describe('Use random matrices of -1, 0 and 1 that are sparser than with sparse'),
    randlora_dropout: dropout,
    randlora_alpha: scale
      .default(640)
      .describe(
        'Scaling numerator: the update is scaled by randlora_alpha / r. Recommended: 20 × r',
      ),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...targetOptions('query and value projections', 'randlora_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'inFeatures' | 'outFeatures'>;

/** The smaller and the larger side of a target, and its number of random matrices. */
function sizesOf(
  { inFeatures, outFeatures }: Size,
  r: number,
): { m: number; M: number; n: number } {
  const m = Math.min(inFeatures, outFeatures);
  return { m, M: Math.max(inFeatures, outFeatures), n: Math.ceil(m / r) };
}

interface Bases extends SharedState {
  readonly a: Tensor;
  readonly b: Tensor;
}

export const randlora = linearMethod<Options, Bases>({
  name: 'RANDLORA',
  title: 'RandLoRA',
  summary:
    'Trains scaling coefficients of many random low-rank matrices shared by all layers: full rank with few parameters.',
  paper: 'https://arxiv.org/abs/2502.00987',
  // from PEFT's comparison of methods
  relativeSize: 0.08,
  defaultLearningRate: 1e-4,
  trainingOnly: ['randlora_dropout'],
  options: Options,
  unsupported: {},
  unwritten: ({ save_projection: saved }) =>
    saved ? [] : ['projection_prng_key', 'sparse', 'very_sparse'],
  convertsToLora: true,
  tensors: {
    randlora_lambda: 'parameter',
    randlora_gamma: 'parameter',
    randlora_A: 'shared',
    randlora_B: 'shared',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  held: (targets, { r }) => {
    const { m, M, n } = sizesOf(largest(targets), r);
    return {
      // Ā as computed and as multiplied, B̄ as multiplied
      numbers: targets
        .map((target) => sizesOf(target, r))
        .reduce((sum, own) => sum + own.n * r * (3 * own.m + own.M), r * m + M * n * r),
      perRow: targets.reduce((sum, target) => sum + 2 * r * sizesOf(target, r).n, 0),
    };
  },
  shapes:
    ({ r }) =>
    (target) => {
      const { m, n } = sizesOf(target, r);
      return { randlora_lambda: [r, n], randlora_gamma: [n, m] };
    },
  shared: {
    shapes: () => ({}),
    make(targets, options, parameters, dtype) {
      const [a, b] = drawn(largest(targets), options);
      const constant = (part: string, values: Drawn): Tensor =>
        parameters.constant(part, () => placed(values, dtype), options.save_projection);
      return { a: constant('randlora_A', a), b: constant('randlora_B', b) };
    },
  },
  adapt: (options) => (target, parameters, bases) =>
    new RandloraLinear(target, options, bases, parameters),
});

type Drawn = readonly [values: Float32Array, shape: readonly number[]];

const placed = ([values, shape]: Drawn, dtype: BaseDtype): Tensor =>
  to(tensor(normalised(values), shape), dtype);

/** Divides values by their standard deviation. This is done on the CPU, because a device might round differently. */
function normalised(values: Float32Array): Float32Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = Math.fround(Math.sqrt(squares / (values.length - 1)));
  return values.map((value) => value / deviation);
}

/** Samples A and then B, before they are divided by their standard deviation. */
function drawn(size: Size, options: Options): [a: Drawn, b: Drawn] {
  const { r, projection_prng_key: key, sparse, very_sparse: very } = options;
  const { m, M, n } = sizesOf(size, r);
  const generator = new TorchGenerator(key);
  const shapes = [
    [r, 1, m],
    [M, n, r],
  ] as const;
  if (sparse || very) {
    const least = 1 / (2 * (very ? Math.sqrt(m) : SPARSE));
    const a = signsOf(generator, r * m, least);
    return [
      [a, shapes[0]],
      [signsOf(generator, M * n * r, least), shapes[1]],
    ];
  }
  const uniform = (count: number, inputs: number): Float32Array => {
    // PyTorch's kaiming_uniform_ with a = √5
    const bound = Math.sqrt(3) * (Math.sqrt(2 / (1 + Math.sqrt(5) ** 2)) / Math.sqrt(inputs));
    return generator.uniform(count, -bound, bound);
  };
  const a = uniform(r * m, m);
  const b = new Float32Array(M * n * r);
  for (let i = 0; i < n; i++) {
    const piece = uniform(M * r, r);
    for (let row = 0; row < M; row++)
      b.set(piece.subarray(row * r, (row + 1) * r), (row * n + i) * r);
  }
  return [
    [a, shapes[0]],
    [b, shapes[1]],
  ];
}

/** Samples of -1, 0 and 1; the values at both ends of [0, 1) give -1 and 1. */
function signsOf(generator: TorchGenerator, count: number, least: number): Float32Array {
  const [low, high] = [Math.fround(least), Math.fround(1 - least)];
  return generator.uniform(count, 0, 1).map((value) => (value < low ? -1 : Number(value > high)));
}

/** RandLoRA update of one linear layer. */
class RandloraLinear implements LinearUpdate {
  readonly #lambda: Tensor;
  readonly #gamma: Tensor;
  readonly #scale: number;

  constructor(
    private readonly target: Size,
    private readonly options: Options,
    private readonly bases: Bases,
    parameters: ModuleParameters,
  ) {
    const { r, randlora_alpha: alpha, init_weights: init, save_projection: saved } = options;
    const { m, M, n } = sizesOf(target, r);
    this.#lambda = init
      ? parameters.zeros('randlora_lambda', [r, n])
      : parameters.normal('randlora_lambda', [r, n], 1);
    this.#gamma = parameters.parameter('randlora_gamma', () =>
      full([n, m], 1 / (init ? Math.max(n, m) : M)),
    );
    this.#scale = alpha / r;
    if (!saved) return;
    parameters.repeat('randlora_A', bases.a);
    parameters.repeat('randlora_B', bases.b);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { randlora_dropout: p } = this.options;
    return tidy(() => {
      const drops = ctx.training && p > 0;
      const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
      const [down, up] = this.#factors().map((factor) => to(factor, x.dtype)) as [Tensor, Tensor];
      const low = linear(seen, down);
      return (ctx.alone ? addmm_ : addmm)(y, low, transpose(up, 0, 1), { alpha: this.#scale });
    });
  }

  merged(weight: Tensor): Merged {
    const [down, up] = this.#factors();
    return { weight: add(weight, matmul(up, down), this.#scale) };
  }

  /** [r n, in] and [out, r n], whose product is ΔW. */
  #factors(): [down: Tensor, up: Tensor] {
    const { inFeatures } = this.target;
    const { r } = this.options;
    const { m, M, n } = sizesOf(this.target, r);
    const a = narrow(this.bases.a, 2, 0, m);
    const scaled = mul(mul(a, unsqueeze(this.#lambda, 2)), unsqueeze(this.#gamma, 0));
    const small = reshape(scaled, [r * n, m]);
    const large = reshape(narrow(narrow(this.bases.b, 0, 0, M), 1, 0, n), [M, n * r]);
    return m === inFeatures ? [small, large] : [transpose(large, 0, 1), transpose(small, 0, 1)];
  }
}
