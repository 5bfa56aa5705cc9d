/**
 * Filter banks of the Audio Spectrogram Transformer (arXiv:2104.01778), as in transformers'
 * ASTFeatureExtractor (Kaldi's).
 *   f = frame − mean frame,  g[n] = f[n] − 0.97 f[n − 1] (f[−1] = f[0]),  S = |rfft(g · hann)|² Mᵀ,  y = log max(S, ε)
 * Frames of 400 samples every 160 samples, padded to 512; M: Kaldi's filters from 20 Hz; ε of f32. y
 * [max_length, num_mel_bins]: further frames are truncated, missing ones are zero before (y − mean) / (2
 * std). In f32, as in torchaudio.
 */
import {
  cat,
  clamp,
  contiguous,
  log,
  mean,
  mul,
  narrow,
  sub,
  tensor,
  tidy,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import { defineFeatureExtractor, SAMPLING_RATE } from './feature-extractor.js';
import { kaldiFilters } from './mel-filters.js';
import { framed, hann, powers, toMel } from './spectrum.js';

const [FRAME, HOP, FFT] = [400, 160, 512];
const [LOWEST_HERTZ, PREEMPHASIS, FLOOR] = [20, 0.97, 2 ** -23];

export const astFeatureExtractor = defineFeatureExtractor(
  'ASTFeatureExtractor',
  {
    sampling_rate: SAMPLING_RATE,
    num_mel_bins: z.int().min(1).max(512).default(128),
    max_length: z.int().min(1).max(65_536).default(1024),
    do_normalize: z.boolean().default(true),
    mean: z.number().default(-4.2677393),
    std: z.number().positive().default(4.5689974),
  },
  (config) => {
    const { num_mel_bins: bins, max_length: length, sampling_rate: samplingRate } = config;
    const filters = kaldiFilters({
      bins: FFT / 2 + 1,
      filters: bins,
      from: LOWEST_HERTZ,
      to: Math.floor(samplingRate / 2),
      samplingRate,
    });
    const window = hann(FRAME, false);
    return {
      samplingRate,
      minSamples: FRAME,
      maxSamples: FRAME + (length - 1) * HOP,
      shape: () => [length, bins],
      extract: (samples) =>
        tidy(() => {
          const heard = samples.subarray(0, FRAME + (length - 1) * HOP);
          const waves = emphasized(framed(tensor(heard, [heard.length]), FRAME, HOP));
          const spectra = powers(waves, tensor(window, [FRAME], 'f32'), FFT);
          const banks = log(clamp(toMel(spectra, filters), FLOOR));
          const missing = length - (banks.shape[0] ?? 0);
          const filled = missing > 0 ? cat([banks, zeros([missing, bins])]) : banks;
          const scaled = config.do_normalize
            ? mul(sub(filled, config.mean), 1 / (2 * config.std))
            : filled;
          return contiguous(scaled);
        }),
    };
  },
);

/** Frames [frames, n] minus their mean, with pre-emphasis. */
function emphasized(frames: Tensor): Tensor {
  const centred = sub(frames, mean(frames, [1], true));
  const before = cat([narrow(centred, 1, 0, 1), narrow(centred, 1, 0, FRAME - 1)], 1);
  return sub(centred, mul(before, PREEMPHASIS));
}
