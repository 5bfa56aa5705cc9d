// What a base makes of sounds, by its preprocessor_config.json.
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
   * @param rowsOf how many rows a base makes of features of a shape
   * @throws DomainError for a file that is not understood, or is not the base's
   */
  constructor(config: unknown, rowsOf: (shape: readonly number[]) => number) {
    this.#extractor = readFeatureExtractor(config);
    this.#rowsOf = rowsOf;
    const { maxSamples, samplingRate } = this.#extractor;
    rowsOf(this.#extractor.shape(maxSamples ?? 10 * samplingRate));
  }

  /** Samples a second, of what it is given. */
  get samplingRate(): number {
    return this.#extractor.samplingRate;
  }

  /** Of a sound of which all is heard; null: of any. */
  get maxSeconds(): number | null {
    const { maxSamples, samplingRate } = this.#extractor;
    return maxSamples === null ? null : maxSamples / samplingRate;
  }

  /** That a base makes of so many samples; 0: they are too few. */
  rows(samples: number): number {
    if (samples < this.#extractor.minSamples) return 0;
    try {
      return this.#rowsOf(this.#extractor.shape(samples));
    } catch (error) {
      if (error instanceof DomainError) return 0;
      throw error;
    }
  }

  /** f32, where the model computes. */
  features(samples: Float32Array): Tensor {
    return tidy(() => toDevice(this.#extractor.extract(samples), device()));
  }
}
