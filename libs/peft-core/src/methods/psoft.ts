/**
 * PSOFT: rotates the few principal directions of a weight.
 *   y = x Wᵀ + b + s (z Rᵀ - z) Bᵀ,  z = drop(x) Aᵀ      R = diag(b) (I + Q) (I - Q)⁻¹ diag(a),  s = α/r
 * A: [r, in] and B: [out, r] consist of W's first r singular vectors and values and are recomputed from W whenever an
 * adapter is loaded. With W = U S Vᵀ, "psoft_init" is A = Vᵀ_r, B = U_r S_r / s; "pissa_init" is A = √(S_r/s) Vᵀ_r, B =
 * U_r √(S_r/s). Q: [r, r] is skew; its values above the diagonal [r (r-1)/2] are trained. With use_cayley_neumann a
 * series replaces the transform, and cayley_neumann_eps bounds ‖Q‖. Without psoft_orth R itself is trained. a, b: [r].
 * Everything is f32; the sum is rounded to y's dtype.
 */
import {
  add,
  clone,
  counterDropout,
  div,
  eye,
  gt,
  keep,
  linear,
  mm,
  mul,
  narrow,
  neg,
  noGrad,
  norm,
  reciprocal,
  sqrt,
  sub,
  svd,
  tidy,
  to,
  toDevice,
  unsqueeze,
  upperIndices,
  view,
  where,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
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
import { decompositionNumbers, inputsOf, outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import { normal } from '../nn/random-init.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';
import { cayley, neumann, rotationNumbers, skew } from './parts/rotations.js';

const Options = z
  .strictObject({
    r: rank
      .default(32)
      .describe('Rank: number of rotated directions. At most the smaller dimension of a layer'),
    psoft_alpha: z
      .int()
      .min(1)
      .default(32)
      .describe('Scaling numerator: the update is scaled by psoft_alpha / r'),
    psoft_dropout: dropout,
    ab_svd_init: z
      .enum(['psoft_init', 'pissa_init'])
      .default('psoft_init')
      .describe('Which side of the rotation the singular values are on; "pissa_init": both sides'),
    psoft_orth: z
      .boolean()
      .default(true)
      .describe('Constrain the trained matrix to a rotation. false: an unconstrained matrix'),
    psoft_mag_a: z.boolean().default(true).describe('Scale directions before the rotation'),
    psoft_mag_b: z.boolean().default(true).describe('Scale directions after the rotation'),
    use_cayley_neumann: z
      .boolean()
      .default(false)
      .describe(
        'Use the Cayley-Neumann series instead of a matrix inverse: faster, approximately orthogonal',
      ),
    num_cayley_neumann_terms: z
      .int()
      .min(2)
      .max(64)
      .default(5)
      .describe('Number of terms of the Cayley-Neumann series'),
    cayley_neumann_eps: z
      .number()
      .gt(0)
      .lt(1)
      .nullable()
      .default(null)
      .describe('Maximum norm of the matrix of the series. null: unbounded'),
    ...targetFields('query and value projections'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the rotation is initialized to the identity; false: randomly, for tests'),
    ...layerFields,
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const psoft = linearMethod<Options>({
  name: 'PSOFT',
  title: 'PSOFT',
  summary: 'Rotates and scales the principal directions of weights. Very few parameters.',
  paper: 'https://arxiv.org/abs/2505.11235',
  // PEFT's comparison of methods
  relativeSize: 0.007,
  defaultLearningRate: 1e-4,
  trainingOnly: ['psoft_dropout'],
  options: Options,
  // PEFT's randomized decomposition uses PyTorch's global generator
  unsupported: { psoft_svd: 'full', psoft_svd_lowrank_niter: 10, random_seed: 0 },
  unwritten: () => ['ab_svd_init'],
  convertsToLora: true,
  tensors: { psoft_R: 'module', 'psoft_R.vector_a': 'parameter', 'psoft_R.vector_b': 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  check: refuseIdle,
  needs: () => ({
    field: 'peft_type',
    shown: 'PSOFT',
    data: false,
    markedInFile: false,
    packed: false,
  }),
  held: (targets, { r, use_cayley_neumann: isSeries, num_cayley_neumann_terms: terms }) => ({
    numbers:
      r * (inputsOf(targets) + outputsOf(targets)) +
      targets.length * rotationNumbers({ blocks: 1, size: r }, isSeries ? terms : null) +
      decompositionNumbers(targets),
    // x is multiplied by a frozen A, so it is not stored
    perRow: targets.length * 6 * r,
  }),
  shapes: (options) => (linear) => partShapes(options, linear),
  adapt: (options) => (linear, parameters) => new PsoftLinear(options, linear, parameters),
});

/** Rejects options that PEFT accepts and ignores. */
function refuseIdle({
  use_cayley_neumann: isSeries,
  num_cayley_neumann_terms: terms,
  cayley_neumann_eps: eps,
}: Options): void {
  if (isSeries) return;
  const idle =
    terms !== 5 ? 'num_cayley_neumann_terms' : eps !== null ? 'cayley_neumann_eps' : undefined;
  if (idle === undefined) return;
  const message = `${idle} is used with use_cayley_neumann only`;
  throw new DomainError('invalid_value', message, `peft.${idle}`);
}

/** Returns the shapes of the parts. @throws DomainError if PEFT rejects the rank */
function partShapes(
  { r, psoft_orth: orthogonal, psoft_mag_a: a, psoft_mag_b: b }: Options,
  { path, inFeatures, outFeatures }: Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>,
): PartShapes {
  const most = Math.min(inFeatures, outFeatures);
  if (r > most) {
    const message = `expected r ≤ the smaller size of ${path}, ${most}, got ${r}`;
    throw new DomainError('invalid_value', message, 'peft.r');
  }
  return {
    psoft_R: orthogonal ? [(r * (r - 1)) / 2] : [r, r],
    ...(b && { 'psoft_R.vector_b': [r] }),
    ...(a && { 'psoft_R.vector_a': [r] }),
  };
}

class PsoftLinear implements LinearUpdate {
  readonly #turn: Tensor;
  readonly #before: Tensor | null;
  readonly #behind: Tensor | null;
  readonly #a: Tensor;
  readonly #b: Tensor;
  readonly #places: Tensor;
  readonly #scale: number;

  constructor(
    private readonly options: Options,
    target: Linear,
    parameters: ModuleParameters,
  ) {
    const { r, psoft_alpha: alpha } = options;
    const shapes = partShapes(options, target);
    const ones = (part: string): Tensor | null => {
      const shape = shapes[part];
      return shape ? parameters.ones(part, shape) : null;
    };
    this.#scale = alpha / r;
    this.#turn = initial(options, shapes['psoft_R'] as number[], parameters);
    this.#behind = ones('psoft_R.vector_b');
    this.#before = ones('psoft_R.vector_a');
    this.#places = keep(upperIndices(r));
    [this.#a, this.#b] = principal(target, options);
  }

  after(y: Tensor, x: Tensor, { training, key, module }: LinearContext): Tensor {
    const { psoft_dropout: p } = this.options;
    return tidy(() => {
      const seen = to(x, 'f32');
      const dropped = training && p > 0 ? counterDropout(seen, p, { ...key, site: module }) : seen;
      const low = linear(dropped, this.#a);
      const moved = sub(linear(low, this.#rotation()), low);
      return to(add(y, linear(moved, this.#b), this.#scale), y.dtype);
    });
  }

  merged(weight: Tensor): Merged {
    const moved = sub(this.#rotation(), eye(this.options.r));
    return { weight: add(weight, mm(mm(this.#b, moved), this.#a), this.#scale) };
  }

  dispose(): void {
    for (const tensor of [this.#a, this.#b, this.#places]) tensor.dispose();
  }

  /** R: [r, r] */
  #rotation(): Tensor {
    const turned = this.options.psoft_orth ? this.#orthogonal() : this.#turn;
    const after = this.#behind ? mul(unsqueeze(this.#behind, 1), turned) : turned;
    return this.#before ? mul(after, this.#before) : after;
  }

  #orthogonal(): Tensor {
    const { r, use_cayley_neumann: isSeries, num_cayley_neumann_terms: terms } = this.options;
    const q = skew(view(this.#turn, [1, -1]), this.#places, r);
    return view(isSeries ? neumann(this.#bounded(q), terms) : cayley(neg(q)), [r, r]);
  }

  /** Q, scaled to a norm of at most ε. */
  #bounded(q: Tensor): Tensor {
    const { cayley_neumann_eps: eps } = this.options;
    if (eps === null) return q;
    const length = norm(q);
    return where(gt(length, eps), mul(q, mul(reciprocal(add(length, 1e-12)), eps)), q);
  }
}

function initial(
  { init_weights: neutral, psoft_orth: orthogonal }: Options,
  shape: readonly number[],
  parameters: ModuleParameters,
): Tensor {
  if (orthogonal)
    return neutral ? parameters.zeros('psoft_R', shape) : parameters.normal('psoft_R', shape, 0.1);
  return parameters.parameter('psoft_R', (name, seed) => {
    const identity = eye(shape[0] as number);
    return neutral ? identity : add(identity, normal(shape, 0.1, seed, name));
  });
}

/** Computes the SVD on the CPU: a GPU may flip signs, and a trained adapter would not fit such vectors. */
function decomposed(w: Tensor): ReturnType<typeof svd> {
  if (!w.device.startsWith('cuda')) return svd(w);
  const { u, s, vh } = svd(toDevice(w, 'cpu'));
  return { u: toDevice(u, w.device), s: toDevice(s, w.device), vh: toDevice(vh, w.device) };
}

/** A and B. */
function principal(
  { weight }: Linear,
  { r, ab_svd_init: init, psoft_alpha: alpha }: Options,
): [Tensor, Tensor] {
  return noGrad(() =>
    tidy(() => {
      const { u, s, vh } = decomposed(weight.dense('f32'));
      const values = div(narrow(s, 0, 0, r), alpha / r);
      const [left, right] = [narrow(u, 1, 0, r), narrow(vh, 0, 0, r)];
      if (init === 'psoft_init') return [keep(clone(right)), keep(mul(left, values))];
      const root = sqrt(values);
      return [keep(mul(unsqueeze(root, 1), right)), keep(mul(left, root))];
    }),
  );
}
