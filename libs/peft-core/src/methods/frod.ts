/**
 * FRoD, doi:10.1609/aaai.v40i31.39813: rotates and scales a full weight with few parameters, in a basis that
 * layers share.
 *   W = U diag(λ₀) Vᵀ      W' = U (S + diag(λ)) Vᵀ      y = x W'ᵀ + b = x Wᵀ + b + drop(x) V (S + diag(λ - λ₀))ᵀ Uᵀ
 * All linear layers of a category share V: [in, in] and the places of S (frod-basis.ts). U: [out, in] has
 * columns of length 1. It is recomputed from V and W, and so is λ₀: [in]. S: [in, in] has values at a few
 * places off its diagonal, initially 0, and λ: [in] starts as λ₀. U is stored in the base's dtype, and λ₀ is
 * rounded to it, as in PEFT; everything else is f32, and products are computed in x's dtype. PEFT multiplies
 * by W' instead of W, which in bf16 leaves the rounding of U and V in all of W; here only the update is
 * rounded, and a run starts exactly as its base.
 */
import {
  add,
  addmm,
  addmm_,
  call,
  cat,
  counterDropout,
  div,
  gt,
  keep,
  matmul,
  mm,
  noGrad,
  norm,
  pinv,
  reshape,
  solveIfRegular,
  sub,
  tidy,
  to,
  toDevice,
  transpose,
  where,
  zeros,
  zerosLike,
  linear as multiply,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { BaseDtype } from '../nn/precision.js';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import { checkLayers, dropout, targetOptions } from './frame/fields.js';
import { Bases, categoriesOf, onCpu, placesOf } from './parts/frod-basis.js';
import type { Basis } from './parts/frod-basis.js';
import { linearMethod } from './frame/linear-method.js';
import { decompositionNumbers, numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    sparse_rate: z
      .number()
      .min(0)
      .max(1)
      .default(0.01)
      .describe('Fraction of the rotations between two directions that are trainable'),
    regularization_alpha: z
      .number()
      .positive()
      .default(1e-3)
      .describe('Regularization of the shared basis, for layers with similar weights'),
    projection_prng_key: z
      .int()
      .min(0)
      .default(0)
      .describe('Random seed of the trainable positions; the same positions as in PEFT'),
    save_projection: z
      .boolean()
      .default(true)
      .describe(
        'Save the basis in the adapter. false: smaller file; the basis is recomputed from the base model, which can differ between processors',
      ),
    frod_dropout: dropout,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    progressbar: z
      .boolean()
      .default(true)
      .describe('Whether PEFT shows a progress bar. Kept for compatibility with PEFT'),
    ...targetOptions('query and value projections', 'frod_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const frod = linearMethod<Options, Bases>({
  name: 'FROD',
  title: 'FRoD',
  summary:
    'Rotates and scales full weights with few parameters, in a basis shared by all layers. Slow to initialize on large models.',
  paper: 'https://doi.org/10.1609/aaai.v40i31.39813',
  // PEFT's comparison of methods
  relativeSize: 0.05,
  defaultLearningRate: 1e-3,
  trainingOnly: ['frod_dropout', 'progressbar'],
  options: Options,
  unsupported: { runtime_offload_base_weight: false },
  reasons: { runtime_offload_base_weight: 'jobs share the base, so its weights cannot be moved' },
  unwritten: ({ save_projection: saved }) =>
    saved ? [] : ['projection_prng_key', 'sparse_rate', 'regularization_alpha'],
  tensors: {
    frod_lambda_l: 'parameter',
    frod_lambda_s_values: 'parameter',
    'frod_V.*': 'shared',
    'frod_s_indices.*': 'shared',
    'frod_s_size.*': 'shared',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  held(targets) {
    const square = targets.reduce((sum, { inFeatures }) => sum + inFeatures ** 2, 0);
    const categories = [...categoriesOf(targets).values()];
    const shared = categories.reduce((sum, [first]) => sum + 2 * (first?.inFeatures ?? 0) ** 2, 0);
    const stacked = Math.max(...categories.map((linears) => numbersIn(linears)));
    return {
      // U and S of each layer, and the shared V; while V is computed, the joined weights of a category and
      // their QR
      numbers:
        numbersIn(targets) + 2 * square + shared + 3 * stacked + decompositionNumbers(targets),
      perRow: targets.reduce((sum, { inFeatures }) => sum + 2 * inFeatures, 0),
    };
  },
  shapes: (options) => (linear) => ({
    frod_lambda_l: [linear.inFeatures],
    frod_lambda_s_values: [placesOf(linear, options)],
  }),
  shared: {
    shapes: () => ({}),
    make: (targets, options, parameters, dtype, warmStart) =>
      new Bases(targets, { ...options, warmStart }, parameters, dtype),
  },
  adapt:
    (options, _, warmStart = false) =>
    (target, parameters, bases) =>
      new FrodLinear({ ...options, warmStart }, target, parameters, bases),
});

/** U and λ₀ of a weight. */
interface Decomposed {
  readonly u: Tensor;
  readonly lambda: Tensor;
}

class FrodLinear implements LinearUpdate {
  readonly #lambda: Tensor;
  readonly #values: Tensor;
  readonly #basis: Basis;
  readonly #dtype: BaseDtype;
  #decomposed: Decomposed | null = null;

  constructor(
    private readonly options: Options & { readonly warmStart: boolean },
    private readonly target: Linear,
    parameters: ModuleParameters,
    bases: Bases,
  ) {
    const { init_weights: neutral, warmStart } = options;
    this.#basis = bases.of(target);
    this.#dtype = bases.dtype;
    const size = [target.inFeatures];
    this.#lambda = parameters.parameter('frod_lambda_l', () => {
      if (warmStart) return zeros(size);
      const { lambda } = this.#parts();
      return neutral ? lambda : add(lambda, parameters.noise('frod_lambda_l', size), 0.1);
    });
    const places = [placesOf(target, options)];
    this.#values = neutral
      ? parameters.zeros('frod_lambda_s_values', places)
      : parameters.normal('frod_lambda_s_values', places, 0.1);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { frod_dropout: p } = this.options;
    return tidy(() => {
      const drops = ctx.training && p > 0;
      const seen = drops ? counterDropout(x, p, { ...ctx.key, site: ctx.module }) : x;
      const inBasis = matmul(seen, this.#basis.v(x.dtype));
      const turned = multiply(inBasis, this.#turn(x.dtype));
      const up = transpose(to(this.#parts().u, x.dtype), 0, 1);
      return (ctx.alone ? addmm_ : addmm)(y, turned, up);
    });
  }

  merged(weight: Tensor): Merged {
    const v = transpose(this.#basis.v('f32'), 0, 1);
    const u = to(this.#parts().u, 'f32');
    return { weight: add(weight, mm(mm(u, this.#turn('f32')), v)) };
  }

  loaded(): void {
    this.dispose();
  }

  restored(): void {
    this.dispose();
  }

  ready(): void {
    this.#parts();
  }

  dispose(): void {
    this.#decomposed?.u.dispose();
    this.#decomposed?.lambda.dispose();
    this.#decomposed = null;
  }

  /** S + diag(λ - λ₀): [in, in] */
  #turn(dtype: Dtype): Tensor {
    const { inFeatures: size } = this.target;
    const numbers = cat([this.#values, sub(this.#lambda, this.#parts().lambda)]);
    const empty = zeros([size * size], dtype);
    const flat = call('aten::scatter_add', empty, 0, this.#basis.places(), to(numbers, dtype));
    return reshape(flat as Tensor, [size, size]);
  }

  #parts(): Decomposed {
    return (this.#decomposed ??= noGrad(() => tidy(() => this.#decompose())));
  }

  #decompose(): Decomposed {
    const { weight } = this.target;
    const wide = (t: Tensor): Tensor => to(onCpu(t), 'f64');
    const v = wide(this.#basis.v('f32'));
    const w = wide(weight.dense('f32'));
    const solved = solveIfRegular(v, transpose(w, 0, 1));
    const whole = solved ? transpose(solved, 0, 1) : mm(w, transpose(pinv(v, RTOL), 0, 1));
    const lengths = norm(whole, 2, 0);
    const u = where(gt(lengths, NOTHING), div(whole, lengths), zerosLike(whole));
    const { device } = this.#basis.v('f32');
    const placed = (t: Tensor): Tensor => toDevice(to(to(t, 'f32'), this.#dtype), device);
    return { u: keep(placed(u)), lambda: keep(to(placed(lengths), 'f32')) };
  }
}

/** PEFT's relative threshold of V's singular values in its pseudo-inverse, if V has no inverse. */
const RTOL = 1e-6;
/** PEFT's length below which a column of U counts as zero. */
const NOTHING = 1e-12;
