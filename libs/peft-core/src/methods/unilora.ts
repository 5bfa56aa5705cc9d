/**
 * Uni-LoRA, arXiv:2506.00799: LoRA whose values, in all linear layers, come from one short vector.
 *   y = x Wᵀ + b + (drop(x) Aᵀ) Bᵀ      A, B = (θ / √count)[places]
 * Only θ: [d], f32, is trained. count is the number of places of each of its values, nearly the same for all. The
 * places of A and B, of each layer in turn, are one list that NumPy's generator shuffles from proj_seed; files do not
 * store them. x: [n, in]  W: [out, in]  A: [r, in]  B: [out, r]. PEFT rounds 1/√count to the base's dtype; A and B are
 * f32, and products with x are computed in its dtype. The update does not start at zero.
 */
import {
  add,
  counterDropout,
  embedding,
  keep,
  linear,
  mm,
  mul,
  tensor,
  tidy,
  to,
  unsqueeze,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { BaseDtype } from '../nn/precision.js';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { checkLayers, dropout, rank, scale, targetOptions } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, SharedState } from './frame/linear-method.js';
import { NumpyGenerator } from './reference-math/numpy-generator.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank.default(4).describe('Rank of the update'),
    theta_d_length: z
      .int()
      .min(1)
      .max(100_000_000)
      .default(256)
      .describe('Number of trainable parameters of the whole model'),
    proj_seed: z
      .int()
      .min(0)
      .default(42)
      .describe('Random seed of the projection; must match the adapter'),
    unilora_dropout: dropout,
    init_weights: z
      .boolean()
      .default(true)
      .describe(
        'true: initialize uniformly within init_theta_d_bound of zero; false: from a normal distribution, for tests',
      ),
    init_theta_d_bound: scale.default(0.02).describe('Bound of the uniform initialization'),
    ...targetOptions('query and value projections', 'unilora_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'inFeatures' | 'outFeatures'>;

export const unilora = linearMethod<Options, OneVector>({
  name: 'UNILORA',
  title: 'Uni-LoRA',
  summary: 'LoRA whose matrices, in all layers, are projected from one short trainable vector.',
  paper: 'https://arxiv.org/abs/2506.00799',
  // PEFT's comparison of methods
  relativeSize: 0.001,
  defaultLearningRate: 2e-3,
  trainingOnly: ['unilora_dropout'],
  options: Options,
  // PEFT recomputes the places from the seed
  unsupported: { save_indices: false },
  unwritten: () => ['proj_seed'],
  convertsToLora: true,
  tensors: { unilora_theta_d: 'shared' },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  held: (targets, { r }) => ({
    // the places, in lists while they are sampled, and A and B
    numbers: 6 * numbersOf(targets, r),
    perRow: inputsOf(targets) + targets.length * r,
  }),
  shapes: () => () => ({}),
  shared: {
    shapes: (_targets, { theta_d_length: d }) => ({ unilora_theta_d: [d] }),
    make: (targets, options, parameters, dtype) =>
      new OneVector(targets, options, parameters, dtype),
  },
  adapt: (options) => (linear, _parameters, vector) => update(options, linear, vector),
});

const numbersOf = (targets: readonly Size[], r: number): number =>
  targets.reduce((sum, { inFeatures, outFeatures }) => sum + r * (inFeatures + outFeatures), 0);

interface Places {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** θ, and the places of its values. */
class OneVector implements SharedState {
  readonly #theta: Tensor;
  readonly #scales: Tensor;
  readonly #places = new Map<Linear, Places>();

  constructor(
    targets: readonly Linear[],
    {
      r,
      theta_d_length: d,
      proj_seed: seed,
      init_weights: init,
      init_theta_d_bound: bound,
    }: Options,
    parameters: ModuleParameters,
    dtype: BaseDtype,
  ) {
    this.#theta = init
      ? parameters.uniform('unilora_theta_d', [d], bound)
      : parameters.normal('unilora_theta_d', [d], 1);
    const places = drawPlaces(numbersOf(targets, r), d, seed);
    this.#scales = keep(tidy(() => to(to(tensor(scalesOf(places, d), [d]), dtype), 'f32')));
    let at = 0;
    const take = (rows: number, columns: number): Tensor => {
      const taken = places.slice(at, (at += rows * columns));
      return keep(tidy(() => tensor(taken, [rows, columns])));
    };
    for (const target of targets) {
      const a = take(r, target.inFeatures);
      this.#places.set(target, { a, b: take(target.outFeatures, r) });
    }
  }

  /** A and B of a linear layer. */
  factors(target: Linear): readonly [a: Tensor, b: Tensor] {
    const { a, b } = this.#places.get(target) as Places;
    const scaled = unsqueeze(mul(this.#theta, this.#scales), 1);
    const at = (places: Tensor): Tensor => view(embedding(scaled, places), places.shape);
    return [at(a), at(b)];
  }

  dispose(): void {
    this.#scales.dispose();
    for (const { a, b } of this.#places.values()) {
      a.dispose();
      b.dispose();
    }
  }
}

/** Assigns places to d values. Each value gets as many places as the others, or one more. */
function drawPlaces(count: number, d: number, seed: number): Int32Array {
  const generator = new NumpyGenerator(seed);
  const whole = count - (count % d);
  const places = Int32Array.from({ length: count }, (_, i) => Math.floor((i * d) / whole));
  if (whole < count) places.set(generator.choice(d, count - whole), whole);
  generator.shuffle(places);
  return places;
}

/** 1/√count, 0 for values without a place. */
function scalesOf(places: Int32Array, d: number): Float32Array {
  const counts = new Float32Array(d);
  for (const place of places) counts[place] = (counts[place] as number) + 1;
  return counts.map((count) => (count === 0 ? 0 : 1 / Math.sqrt(count)));
}

const update = (
  { unilora_dropout: p }: Options,
  target: Linear,
  vector: OneVector,
): LinearUpdate => ({
  after: (y, x, { training, key, module }: LinearContext) =>
    tidy(() => {
      const seen = training && p > 0 ? counterDropout(x, p, { ...key, site: module }) : x;
      const [a, b] = vector.factors(target).map((factor) => to(factor, x.dtype)) as [
        Tensor,
        Tensor,
      ];
      return add(y, linear(linear(seen, a), b));
    }),
  merged(weight) {
    const [a, b] = vector.factors(target);
    return { weight: add(weight, mm(b, a)) };
  },
});
