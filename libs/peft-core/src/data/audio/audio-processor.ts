// Converts audio to a base's inputs, by its preprocessor_config.json.
import { DomainError } from '@graft/contracts';
import { device, tidy, toDevice } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { FeatureExtractor } from './feature-extractor.js';
import { readFeatureExtractor } from './feature-extractors.js';

export class AudioProcessor {
  readonly #extractor: FeatureExtractor;
  readonly #rowsOf: (shape: readonly number[]) => number;

  /**
   * @param config preprocessor_config.json
   * @param rowsOf returns the number of rows of the base for features of a shape
   * @throws DomainError if the file is not supported or does not fit the base
   */
  constructor(config: unknown, rowsOf: (shape: readonly number[]) => number) {
    this.#extractor = readFeatureExtractor(config);
    this.#rowsOf = rowsOf;
    const { maxSamples, samplingRate } = this.#extractor;
    rowsOf(this.#extractor.shape(maxSamples ?? 10 * samplingRate));
  }

  /** Sampling rate of the input in Hz. */
  get samplingRate(): number {
    return this.#extractor.samplingRate;
  }

  /** Maximum length of audio that is used completely, in seconds; null if there is no limit. */
  get maxSeconds(): number | null {
    const { maxSamples, samplingRate } = this.#extractor;
    return maxSamples === null ? null : maxSamples / samplingRate;
  }

  /** Number of rows of the base for this many samples; 0 if they are too few. */
  rows(samples: number): number {
    if (samples < this.#extractor.minSamples) return 0;
    try {
      return this.#rowsOf(this.#extractor.shape(samples));
    } catch (error) {
      if (error instanceof DomainError) return 0;
      throw error;
    }
  }

  /** Features in f32, on the model's device. */
  features(samples: Float32Array): Tensor {
    return tidy(() => toDevice(this.#extractor.extract(samples), device()));
  }
}
