/**
 * FourierFT, arXiv:2405.03003: an update of a few waves over the weight.
 *   y = x Wᵀ + b + x ΔWᵀ      ΔW = s Re F⁻¹(D)      D: [out, in], zero except at n random places, which hold c
 * F⁻¹ is the inverse transform over both dimensions. c: [n], f32. The full ΔW is computed in f32, and its product in
 * x's dtype.
 */
import { ifft2, indexPut, mul, real, zeros } from '@graft/kernels';
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

const Options = z
  .strictObject({
    n_frequency: frequencyCount(1000, 'of its spectrum'),
    scaling: scale.default(150).describe('Scaling factor of the update'),
    init_weights: z
      .boolean()
      .default(false)
      .describe('true: the adapter is initialized to a no-op; false: randomly'),
    ...spectrumOptions('fourierft_only'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const fourierft = linearMethod<Options>({
  name: 'FOURIERFT',
  title: 'FourierFT',
  summary: 'Trains a few Fourier coefficients of the update. Far fewer parameters than LoRA.',
  paper: 'https://arxiv.org/abs/2405.03003',
  // the paper's for instruction tuning of LLaMA
  relativeSize: 0.013,
  defaultLearningRate: 3e-3,
  options: Options,
  unsupported: {},
  unwritten: () => ['random_loc_seed'],
  convertsToLora: true,
  tensors: { fourierft_spectrum: 'parameter' },
  defaultTargets: spectrumTargets,
  conv1d: true,
  // ΔW, its transform during computation, and the places, stored in lists while they are sampled
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

class FourierLinear extends SpectrumUpdate {
  readonly #spectrum: Tensor;
  readonly #places: readonly Tensor[];

  constructor(
    private readonly options: Options,
    private readonly target: Linear,
    places: number,
    parameters: ModuleParameters,
  ) {
    super();
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

  dispose(): void {
    for (const tensor of this.#places) tensor.dispose();
  }

  protected update(): Tensor {
    const { outFeatures, inFeatures } = this.target;
    const dense = indexPut(zeros([outFeatures, inFeatures]), this.#places, this.#spectrum);
    return mul(real(ifft2(dense)), this.options.scaling);
  }
}
