/**
 * Input of wav2vec 2.0 (arXiv:2006.11477), as in transformers' Wav2Vec2FeatureExtractor: the samples,
 *   y = (x − mean x) / √(var x + 10⁻⁷)  if `do_normalize`, with the population variance. x, y [samples].
 */
import { tensor } from '@graft/kernels';
import { z } from 'zod';
import { defineFeatureExtractor, SAMPLING_RATE } from './feature-extractor.js';

export const wav2vec2FeatureExtractor = defineFeatureExtractor(
  'Wav2Vec2FeatureExtractor',
  { sampling_rate: SAMPLING_RATE, do_normalize: z.boolean().default(true) },
  (config) => ({
    samplingRate: config.sampling_rate,
    minSamples: 1,
    maxSamples: null,
    shape: (samples) => [samples],
    extract: (samples) =>
      tensor(config.do_normalize ? normalized(samples) : samples, [samples.length]),
  }),
);

function normalized(samples: Float32Array): Float32Array {
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
  const variance = samples.reduce((sum, x) => sum + (x - mean) ** 2, 0) / samples.length;
  const scale = 1 / Math.sqrt(variance + 1e-7);
  return samples.map((x) => (x - mean) * scale);
}
