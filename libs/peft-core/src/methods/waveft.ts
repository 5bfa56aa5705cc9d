/**
 * WaveFT, arXiv:2505.12532: an update of a few wavelets over the weight.
 *   y = x Wᵀ + b + x ΔWᵀ      ΔW = s T(D)      D: zero except at n random places, which hold c
 * T is one level of the inverse wavelet transform over both dimensions. D is larger than W by the reach of the filters
 * over its edges. Its quadrants [A H; V D] are upsampled to twice their size by the products of low-pass and high-pass
 * filters; H uses the high-pass filter down the rows. Without use_idwt T(D) is D. c: [n], f32; the full ΔW is computed
 * in f32, and its product in x's dtype.
 */
import {
  convTranspose2d,
  indexPut,
  keep,
  mul,
  narrow,
  outer,
  select,
  stack,
  tensor,
  tidy,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear } from '../nn/layers/linear.js';
import { checkLayers, scale } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { ModuleParameters } from './frame/parameters.js';
import {
  checkPlaces,
  drawPlaces,
  indices,
  frequencyCount,
  spectrumOptions,
  spectrumTargets,
  countsOf,
  SpectrumUpdate,
} from './parts/spectrum.js';
import { FILTERS, synthesis } from './reference-math/wavelets.js';
import type { Wavelet } from './reference-math/wavelets.js';

const Options = z
  .strictObject({
    n_frequency: frequencyCount(2592, 'among its wavelets'),
    scaling: scale.default(25).describe('Scaling factor of the update'),
    wavelet_family: z
      .enum(Object.keys(FILTERS) as [Wavelet, ...Wavelet[]])
      .default('db1')
      .describe('Wavelet family: Daubechies (db), symlets (sym) or coiflets (coif)'),
    use_idwt: z
      .boolean()
      .default(true)
      .describe(
        'Use the inverse wavelet transform. false: the coefficients are entries of the update itself, a sparse matrix',
      ),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly'),
    ...spectrumOptions('waveft_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const waveft = linearMethod<Options>({
  name: 'WAVEFT',
  title: 'WaveFT',
  summary:
    'Trains a few wavelet coefficients of the update: far fewer parameters than LoRA, in any number.',
  paper: 'https://arxiv.org/abs/2505.12532',
  // PEFT's comparison of methods
  relativeSize: 0.03,
  defaultLearningRate: 1e-4,
  options: Options,
  // an experiment of the paper, which PEFT itself advises against
  unsupported: { proportional_parameters: false },
  unwritten: () => ['random_loc_seed', 'wavelet_family', 'use_idwt'],
  convertsToLora: true,
  tensors: { waveft_spectrum: 'parameter' },
  defaultTargets: spectrumTargets,
  conv1d: true,
  // ΔW, the tensor that it is transformed from, and the places, in lists while they are sampled
  held(targets, options) {
    const countOf = countsOf(options);
    const places = targets.reduce((sum, { path }) => sum + countOf(path), 0);
    return { numbers: 3 * numbersIn(targets) + 32 * places };
  },
  check: (options) => void countsOf(options),
  shapes(options) {
    const countOf = countsOf(options);
    return (linear) => ({ waveft_spectrum: [checkPlaces(countOf(linear.path), linear)] });
  },
  adapt(options) {
    const countOf = countsOf(options);
    return (linear, parameters) =>
      new WaveletLinear(options, linear, checkPlaces(countOf(linear.path), linear), parameters);
  },
});

class WaveletLinear extends SpectrumUpdate {
  readonly #spectrum: Tensor;
  readonly #transform: Transform;

  constructor(
    private readonly options: Options,
    target: Linear,
    places: number,
    parameters: ModuleParameters,
  ) {
    super();
    this.#spectrum = options.init_weights
      ? parameters.zeros('waveft_spectrum', [places])
      : parameters.normal('waveft_spectrum', [places], 0.01);
    this.#transform = (options.use_idwt ? wavelets : sparse)(options, target, places);
  }

  dispose(): void {
    this.#transform.dispose();
  }

  protected update(): Tensor {
    return mul(this.#transform.update(this.#spectrum), this.options.scaling);
  }
}

interface Transform {
  update(spectrum: Tensor): Tensor;
  dispose(): void;
}

const dispose = (tensors: readonly Tensor[]): void => tensors.forEach((tensor) => tensor.dispose());

/** Returns D itself as the update, without a transform. */
function sparse({ random_loc_seed: seed }: Options, target: Linear, count: number): Transform {
  const { outFeatures, inFeatures } = target;
  const places = indices(
    drawPlaces(count, seed, target),
    (place) => Math.floor(place / inFeatures),
    (place) => place % inFeatures,
  );
  return {
    update: (spectrum) => indexPut(zeros([outFeatures, inFeatures]), places, spectrum),
    dispose: () => dispose(places),
  };
}

/** Returns T(D). D is stored as its quadrants [4, rows, columns]; the places are in its middle. */
function wavelets(
  { random_loc_seed: seed, wavelet_family: name }: Options,
  target: Linear,
  count: number,
): Transform {
  const { outFeatures, inFeatures } = target;
  const [low, high] = synthesis(name);
  const beyond = low.length - 2;
  const [rows, columns] = [outFeatures, inFeatures].map((size) =>
    Math.ceil((size + beyond) / 2),
  ) as [number, number];
  const row = (place: number): number =>
    Math.floor(place / inFeatures) + Math.floor((2 * rows - outFeatures) / 2);
  const column = (place: number): number =>
    (place % inFeatures) + Math.floor((2 * columns - inFeatures) / 2);
  const places = indices(
    drawPlaces(count, seed, target),
    (place) => 2 * Number(row(place) >= rows) + Number(column(place) >= columns),
    (place) => row(place) % rows,
    (place) => column(place) % columns,
  );
  const filters = keep(tidy(() => products(low, high)));
  return {
    update(spectrum) {
      const coefficients = indexPut(zeros([4, rows, columns]), places, spectrum);
      const whole = convTranspose2d(coefficients, filters, { stride: 2, padding: beyond });
      return narrow(narrow(select(whole, 0, 0), 0, 0, outFeatures), 1, 0, inFeatures);
    },
    dispose: () => dispose([...places, filters]),
  };
}

/** [4, 1, L, L]: the filters that upsample each quadrant. */
function products(low: readonly number[], high: readonly number[]): Tensor {
  const [lo, hi] = [low, high].map((values) => tensor(values, [values.length])) as [Tensor, Tensor];
  return unsqueeze(stack([outer(lo, lo), outer(hi, lo), outer(lo, hi), outer(hi, hi)]), 1);
}
