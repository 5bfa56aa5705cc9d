/**
 * Whisper's log-mel spectrogram (arXiv:2212.04356), as in transformers' WhisperFeatureExtractor.
 *   S = M |stft(x)|²,  L = log₁₀ max(S, 10⁻¹⁰),  y = (max(L, max L − 8) + 4) / 4
 * x: samples, truncated or padded to `chunk_length` seconds, reflected by n_fft / 2 at both ends; M [mel,
 * n_fft / 2 + 1]: Slaney's filters up to 8 kHz; y [mel, samples / hop], without the spectrum's last frame.
 * All in f32.
 */
import {
  add,
  clamp,
  contiguous,
  log10,
  max,
  maximum,
  mul,
  narrow,
  sub,
  tensor,
  tidy,
  transpose,
} from '@graft/kernels';
import { z } from 'zod';
import { defineFeatureExtractor, SAMPLING_RATE } from './feature-extractor.js';
import { slaneyFilters } from './mel-filters.js';
import { framed, hann, powers, toMel } from './spectrum.js';

const HIGHEST_HERTZ = 8000;

export const whisperFeatureExtractor = defineFeatureExtractor(
  'WhisperFeatureExtractor',
  {
    feature_size: z.int().min(1).max(512).default(80),
    sampling_rate: SAMPLING_RATE,
    hop_length: z.int().min(1).max(10_000).default(160),
    chunk_length: z.int().min(1).max(600).default(30),
    n_fft: z.int().min(2).max(16_384).multipleOf(2).default(400),
    dither: z.literal(0, 'noise in the features (dither) is not supported').optional(),
    // computed from the others
    n_samples: z.int().optional(),
    nb_max_frames: z.int().optional(),
    mel_filters: z.array(z.unknown()).optional(),
  },
  (config) => {
    const { sampling_rate: samplingRate, hop_length: hop, n_fft: size, feature_size: mel } = config;
    const chunk = config.chunk_length * samplingRate;
    const frames = Math.floor(chunk / hop);
    const filters = slaneyFilters({
      bins: size / 2 + 1,
      filters: mel,
      from: 0,
      to: HIGHEST_HERTZ,
      samplingRate,
    });
    const window = hann(size, true);
    return {
      samplingRate,
      minSamples: 1,
      maxSamples: chunk,
      shape: () => [mel, frames],
      extract: (samples) =>
        tidy(() => {
          const padded = reflected(samples, chunk, size / 2);
          const all = framed(tensor(padded, [padded.length]), size, hop);
          const spectra = powers(narrow(all, 0, 0, frames), tensor(window, [size], 'f32'), size);
          const logs = log10(clamp(toMel(spectra, filters), 1e-10));
          const loud = maximum(logs, sub(max(logs), 8));
          return contiguous(transpose(mul(add(loud, 4), 1 / 4), 0, 1));
        }),
    };
  },
);

/** The first `length` samples, padded with zeros, with `edge` reflected samples before and after. */
function reflected(samples: Float32Array, length: number, edge: number): Float32Array {
  const padded = new Float32Array(length + 2 * edge);
  padded.set(samples.subarray(0, length), edge);
  for (let n = 1; n <= edge; n++) {
    padded[edge - n] = padded[edge + n] ?? 0;
    padded[edge + length - 1 + n] = padded[edge + length - 1 - n] ?? 0;
  }
  return padded;
}
