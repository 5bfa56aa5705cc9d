/**
 * TinyLoRA, arXiv:2602.04118: a vector of a few numbers changes the principal directions of a weight.
 *   y = x Wᵀ + b + drop(x) Aᵀ Rᵀ Bᵀ      R = Σᵢ vᵢ Pᵢ
 * A = √S_r Vᵀ_r: [r, in] and B = U_r √S_r: [out, r] of W = U S Vᵀ, and P: [u, r, r], sampled from N(0, 1/r) with
 * PyTorch's generator, are frozen. The file stores A and B, and P unless save_projection is off. v: [u] is trained, one
 * for each group of targets: with weight_tying 0 each target has its own, with 1 all share one. PEFT computes A, B and
 * P in the base's dtype and stores them in f32, as everything else; the sum is rounded to y's dtype.
 */
import {
  add,
  counterDropout,
  einsum,
  linear,
  mm,
  mul,
  narrow,
  noGrad,
  sqrt,
  svd,
  tensor,
  tidy,
  to,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { BaseDtype } from '../nn/precision.js';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { checkLayers, dropout, rank, scale, targetOptions } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { decompositionNumbers, inputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, SharedState } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { TorchGenerator } from './reference-math/torch-generator.js';

const Options = z
  .strictObject({
    r: rank.default(2).describe('Rank: number of frozen principal directions to combine'),
    u: z
      .int()
      .min(1)
      .max(100_000)
      .default(64)
      .describe('Number of trainable parameters per group of layers'),
    weight_tying: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe('Fraction of layers that share trainable parameters: 0 none, 1 all'),
    projection_seed: z
      .int()
      .min(0)
      .max(2 ** 31)
      .default(42)
      .describe('Random seed of the projection matrices'),
    save_projection: z
      .boolean()
      .default(true)
      .describe(
        'Save the projection matrices in the adapter. false: they are regenerated from the seed',
      ),
    tinylora_dropout: dropout,
    init_weights: z
      .union([z.boolean(), z.literal('uniform')])
      .default(true)
      .describe(
        'true: initialize to zero; "uniform": uniformly within init_v_bound; false: randomly, for tests',
      ),
    init_v_bound: scale.default(0.02).describe('Bound of the uniform initialization'),
    ...targetOptions('query and value projections', 'tinylora_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

const vector = (group: number): string => `tinylora_v.${group}`;

type Size = Pick<LinearShape, 'inFeatures' | 'outFeatures'>;

/** State that targets share: their vectors, by the target's index. */
interface Vectors extends SharedState {
  readonly of: ReadonlyMap<Linear, { readonly v: Tensor; readonly place: number }>;
  readonly dtype: BaseDtype;
}

export const tinylora = linearMethod<Options, Vectors>({
  name: 'TINYLORA',
  title: 'TinyLoRA',
  summary:
    'Adjusts the principal directions of weights with a few parameters, down to a handful for the whole model.',
  paper: 'https://arxiv.org/abs/2602.04118',
  // PEFT's comparison of methods, for tied weights
  relativeSize: 0.001,
  defaultLearningRate: 1e-3,
  trainingOnly: ['tinylora_dropout'],
  options: Options,
  unsupported: {},
  unwritten: ({ save_projection: saved }) => (saved ? [] : ['projection_seed']),
  convertsToLora: true,
  tensors: {
    tinylora_A: 'parameter',
    tinylora_B: 'parameter',
    tinylora_P: 'parameter',
    'tinylora_v.*': 'shared',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  // A, B and P, and the tensors that they are computed from
  held: (targets, { r, u }) => ({
    numbers:
      targets.reduce(
        (sum, { inFeatures, outFeatures }) => sum + r * (inFeatures + outFeatures) + u * r * r,
        0,
      ) + decompositionNumbers(targets),
    perRow: 2 * inputsOf(targets) + targets.length * 4 * r,
  }),
  shapes: () => () => ({}),
  shared: {
    shapes: (targets, options) =>
      Object.fromEntries(
        Array.from({ length: groups(targets.length, options).count }, (_, group) => [
          vector(group),
          [options.u],
        ]),
      ),
    make(targets, options, parameters, dtype) {
      const { count, groupOf } = groups(targets.length, options);
      const vectors = Array.from({ length: count }, (_, group) =>
        initial(options, group, parameters),
      );
      const of = new Map(
        targets.map((target, place) => [target, { v: vectors[groupOf(place)] as Tensor, place }]),
      );
      return { of, dtype };
    },
  },
  adapt: (options) => (linear, parameters, vectors) => update(options, linear, parameters, vectors),
});

/** Rounds halves to even, as Python does. */
function rounded(value: number): number {
  const nearest = Math.round(value);
  return Math.abs(value % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** PEFT's division of targets into groups of neighbors. */
function groups(
  targets: number,
  { weight_tying: tying }: Options,
): { readonly count: number; groupOf(place: number): number } {
  const wanted = Math.max(1, rounded(targets * (1 - tying)));
  const size = Math.max(1, Math.floor(targets / wanted));
  const groupOf = (place: number): number => Math.min(Math.floor(place / size), wanted - 1);
  return { count: groupOf(targets - 1) + 1, groupOf };
}

function initial(
  { u, init_weights: init, init_v_bound: bound }: Options,
  group: number,
  parameters: ModuleParameters,
): Tensor {
  if (init === true) return parameters.zeros(vector(group), [u]);
  return init === 'uniform'
    ? parameters.uniform(vector(group), [u], bound)
    : parameters.normal(vector(group), [u], 1);
}

function update(
  options: Options,
  target: Linear,
  parameters: ModuleParameters,
  { of, dtype }: Vectors,
): LinearUpdate {
  const { v, place } = of.get(target) as { v: Tensor; place: number };
  const { u, tinylora_dropout: p, projection_seed: seed } = options;
  const r = rankOf(options, target);
  const [a, b] = principal(target, r, dtype, parameters);
  const projections = parameters.constant(
    'tinylora_P',
    () => {
      const drawn = new TorchGenerator(seed + place).normal(u * r * r, 1 / Math.sqrt(r));
      return to(tensor(drawn, [u, r, r]), dtype);
    },
    options.save_projection,
  );
  const moved = (): Tensor => einsum('u,uij->ij', v, projections);
  return {
    after: (y, x, { training, key, module }: LinearContext) =>
      tidy(() => {
        const seen = training && p > 0 ? counterDropout(x, p, { ...key, site: module }) : x;
        const low = linear(linear(to(seen, 'f32'), a), moved());
        return to(add(y, linear(low, b)), y.dtype);
      }),
    merged: (weight) => ({ weight: add(weight, mm(mm(b, moved()), a)) }),
  };
}

const rankOf = ({ r }: Options, { inFeatures, outFeatures }: Size): number =>
  Math.min(r, inFeatures, outFeatures);

function principal(
  { weight }: Linear,
  r: number,
  dtype: BaseDtype,
  parameters: ModuleParameters,
): [Tensor, Tensor] {
  return noGrad(() =>
    tidy(() => {
      const { u, s, vh } = svd(weight.dense('f32'));
      const root = sqrt(to(narrow(s, 0, 0, r), dtype));
      return [
        parameters.constant('tinylora_A', () =>
          mul(unsqueeze(root, 1), to(narrow(vh, 0, 0, r), dtype)),
        ),
        parameters.constant('tinylora_B', () => mul(to(narrow(u, 1, 0, r), dtype), root)),
      ];
    }),
  );
}
