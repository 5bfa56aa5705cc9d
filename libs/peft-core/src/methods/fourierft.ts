/**
 * FourierFT, arXiv:2405.03003.  An update of a few waves over the weight.
 *
 *   y = x Wᵀ + b + x ΔWᵀ      ΔW = s Re F⁻¹(D)      D: [out, in], zero but at n random places, which hold c
 *
 * F⁻¹ is the inverse transform over both dimensions. c: [n], f32; ΔW is made whole in f32, and its product runs in x's
 * dtype.
 */
import {
  add,
  addmm,
  addmm_,
  ifft2,
  indexPut,
  mul,
  real,
  tidy,
  to,
  transpose,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, LinearContext, Role } from '../nn/layers/linear.js';
import {
  checkLayers,
  fanInFanOut,
  layerFields,
  modulesToSave,
  scale,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { valueByEnd } from './targets/pattern.js';
import { checkPlaces, drawPlaces, indices } from './parts/spectrum.js';

const count = z.int().min(1);

const Options = z
  .strictObject({
    n_frequency: count
      .default(1000)
      .describe('Numbers that train for each linear, at random places of its spectrum'),
    scaling: scale.default(150).describe('Scales the update'),
    random_loc_seed: z
      .int()
      .min(0)
      .max(2 ** 32 - 1)
      .default(777)
      .describe('Tells the places; an adapter fits no other'),
    ...targetFields('query and value, on GPT-2 the last linear of the feed-forward'),
    bias: trainedBiases('fourierft_only'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(false)
      .describe('true: the update starts at zero; false: at random'),
    ...layerFields,
    n_frequency_pattern: z
      .record(z.string(), count)
      .default({})
      .describe('Other n_frequency for some modules: name or pattern → number'),
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

/** Of models for which PEFT's default is another. */
const TARGETS: Readonly<Record<string, readonly Role[]>> = { gpt2: ['down'] };

export const fourierft = linearMethod<Options>({
  name: 'FOURIERFT',
  title: 'FourierFT',
  summary: 'Trains a few frequencies of the update: far fewer parameters than LoRA.',
  paper: 'https://arxiv.org/abs/2405.03003',
  // the paper's for instruction tuning of LLaMA
  defaultLearningRate: 3e-3,
  options: Options,
  unsupported: {},
  unwritten: () => ['random_loc_seed'],
  convertsToLora: true,
  tensors: { fourierft_spectrum: 'parameter' },
  defaultTargets: (modelType) => TARGETS[modelType] ?? ['q', 'v'],
  conv1d: true,
  // ΔW, its transform while it is made, and the places, in lists while they are drawn
  held(targets, options) {
    const countOf = countsOf(options);
    const places = targets.reduce((sum, { path }) => sum + countOf(path), 0);
    return { numbers: 1.5 * numbersIn(targets) + 16 * places };
  },
  check: (options) => void countsOf(options),
  shapes(options) {
    const countOf = countsOf(options);
    return (linear) => ({ fourierft_spectrum: [checkPlaces(countOf(linear.path), linear)] });
  },
  adapt(options) {
    const countOf = countsOf(options);
    return (linear, parameters) =>
      new FourierLinear(options, linear, checkPlaces(countOf(linear.path), linear), parameters);
  },
});

const countsOf = (options: Options): ((path: string) => number) =>
  valueByEnd(options.n_frequency_pattern, 'peft.n_frequency_pattern', options.n_frequency);

class FourierLinear implements LinearUpdate {
  readonly #spectrum: Tensor;
  readonly #places: readonly Tensor[];

  constructor(
    private readonly options: Options,
    private readonly target: Linear,
    places: number,
    parameters: ModuleParameters,
  ) {
    this.#spectrum = options.init_weights
      ? parameters.zeros('fourierft_spectrum', [places])
      : parameters.normal('fourierft_spectrum', [places], 1);
    const { inFeatures } = target;
    this.#places = indices(
      drawPlaces(places, options.random_loc_seed, target),
      (place) => Math.floor(place / inFeatures),
      (place) => place % inFeatures,
    );
  }

  after(y: Tensor, x: Tensor, { alone }: LinearContext): Tensor {
    return tidy(() => (alone ? addmm_ : addmm)(y, x, transpose(to(this.#update(), x.dtype), 0, 1)));
  }

  merged(weight: Tensor): Merged {
    return { weight: add(weight, this.#update()) };
  }

  dispose(): void {
    for (const tensor of this.#places) tensor.dispose();
  }

  /** ΔW */
  #update(): Tensor {
    const { outFeatures, inFeatures } = this.target;
    const dense = indexPut(zeros([outFeatures, inFeatures]), this.#places, this.#spectrum);
    return mul(real(ifft2(dense)), this.options.scaling);
  }
}
