/**
 * PEANuT, arXiv:2410.01870: a small network computes the update from the weight itself.
 *   y = x Wᵀ + b + s (x N) Bᵀ,   N = dec(enc(φ(Wᵀ Aᵀ)))      N: [in, r]
 * Each of the `depth` encoders is h → φ(h Eᵀ). Each decoder is h → φ(h Dᵀ) + the input of its encoder, the last
 * encoder's first. A, B: [r, out], [out, r]  E, D: [r, r], all f32; B starts at zero. PEFT computes the full N Bᵀ, as
 * large as W; here x is multiplied by N first. The products of N are f32, those with x have x's dtype.
 */
import {
  add,
  gelu,
  linear,
  matmul,
  relu,
  sigmoid,
  silu,
  tanh,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear } from '../nn/layers/linear.js';
import {
  checkLayers,
  layerFields,
  modulesToSave,
  rank,
  scale,
  targetFields,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';

const ACTIVATIONS = {
  gelu: (t: Tensor) => gelu(t),
  gelu_new: (t: Tensor) => gelu(t, 'tanh'),
  gelu_pytorch_tanh: (t: Tensor) => gelu(t, 'tanh'),
  linear: (t: Tensor) => t,
  relu,
  sigmoid,
  silu,
  swish: silu,
  tanh,
} as const;
type Activation = keyof typeof ACTIVATIONS;

const DEEPEST = 16;

const Options = z
  .strictObject({
    r: rank.default(32).describe('Hidden width of the network that computes the weight update'),
    depth: z
      .int()
      .min(0)
      .max(DEEPEST)
      .default(0)
      .describe('Number of additional layer pairs in that network'),
    act_fn: z
      .enum(Object.keys(ACTIVATIONS) as [Activation, ...Activation[]])
      .default('relu')
      .describe('Activation function between its layers'),
    scaling: scale.default(1).describe('Scaling factor of the update'),
    ...targetFields('query and value projections'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...layerFields,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

const layer = (side: 'encoders' | 'decoders', i: number): string => `peanut_${side}.${i}`;
const layersOf = (side: 'encoders' | 'decoders', depth: number): string[] =>
  Array.from({ length: depth }, (_, i) => layer(side, i));

export const peanut = linearMethod<Options>({
  name: 'PEANUT',
  title: 'PEANuT',
  summary:
    'A small neural network computes the weight update, which makes it nonlinear in the trainable parameters.',
  paper: 'https://arxiv.org/abs/2410.01870',
  // PEFT's comparison of methods
  relativeSize: 0.3,
  defaultLearningRate: 1e-4,
  options: Options,
  unsupported: {},
  tensors: {
    peanut_A: 'module',
    peanut_B: 'module',
    ...Object.fromEntries(
      [...layersOf('encoders', DEEPEST), ...layersOf('decoders', DEEPEST)].map((part) => [
        part,
        'module' as const,
      ]),
    ),
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  held: (targets, { r, depth }) => ({
    // W in f32, and the input of each layer
    numbers:
      numbersIn(targets) +
      targets.reduce((sum, { inFeatures }) => sum + (2 + 3 * depth) * r * inFeatures, 0),
    perRow: targets.length * r,
  }),
  shapes: (options) => (linear) => partShapes(options, linear),
  adapt: (options) => (linear, parameters) => new PeanutLinear(options, linear, parameters),
});

const partShapes = (
  { r, depth }: Options,
  { outFeatures }: { readonly outFeatures: number },
): PartShapes => ({
  peanut_A: [r, outFeatures],
  ...Object.fromEntries(
    [...layersOf('encoders', depth), ...layersOf('decoders', depth)].map((part) => [part, [r, r]]),
  ),
  peanut_B: [outFeatures, r],
});

class PeanutLinear implements LinearUpdate {
  readonly #parts = new Map<string, Tensor>();

  constructor(
    private readonly options: Options,
    private readonly target: Linear,
    parameters: ModuleParameters,
  ) {
    for (const [part, shape] of Object.entries(partShapes(options, target))) {
      const isNeutral = options.init_weights && part === 'peanut_B';
      const made = isNeutral
        ? parameters.zeros(part, shape)
        : parameters.uniform(part, shape, 1 / Math.sqrt(shape[1] as number));
      this.#parts.set(part, made);
    }
  }

  after(y: Tensor, x: Tensor): Tensor {
    const { scaling } = this.options;
    return tidy(() => {
      const low = matmul(x, to(this.#network(this.target.weight.dense('f32')), x.dtype));
      return add(y, linear(low, to(this.#part('peanut_B'), x.dtype)), scaling);
    });
  }

  merged(weight: Tensor): Merged {
    const update = linear(this.#part('peanut_B'), this.#network(weight));
    return { weight: add(weight, update, this.options.scaling) };
  }

  /** N for a weight W. */
  #network(weight: Tensor): Tensor {
    const { depth, act_fn: name } = this.options;
    const activation = ACTIVATIONS[name];
    let h = activation(linear(transpose(weight, 0, 1), this.#part('peanut_A')));
    const seen: Tensor[] = [];
    for (const part of layersOf('encoders', depth)) {
      seen.push(h);
      h = activation(linear(h, this.#part(part)));
    }
    for (const part of layersOf('decoders', depth))
      h = add(activation(linear(h, this.#part(part))), seen.pop() as Tensor);
    return h;
  }

  #part(name: string): Tensor {
    return this.#parts.get(name) as Tensor;
  }
}
