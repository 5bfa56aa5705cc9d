// Compares with transformers' feature extractors on generated audio of 1.2 s, stems/audio.py.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { contiguous, mapSafetensors, transpose } from '@graft/kernels';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeAudio } from './decode-audio.js';
import { isFeatureExtractor, readFeatureExtractor } from './feature-extractors.js';

const FOLDER = join(import.meta.dirname, '../../../../../test/golden/audio');
const { every, shapes, configs } = JSON.parse(
  readFileSync(join(FOLDER, 'golden.json'), 'utf8'),
) as {
  every: number;
  shapes: Record<string, number[]>;
  configs: Record<string, object>;
};
const golden = mapSafetensors(join(FOLDER, 'golden.safetensors')).tensors;

/**
 * Largest difference; measured are 5e-6, 1e-5, 2e-7, 3e-6 and, for logarithms without normalization, 2e-5.
 */
const TOLERANCES: Record<string, number> = {
  whisper: 3e-5,
  'whisper-128': 3e-5,
  wav2vec2: 1e-6,
  ast: 1e-5,
  'ast-cut': 1e-4,
};

describe('audio features', () => {
  let samples: Float32Array;
  beforeAll(() => {
    ({ samples } = decodeAudio(readFileSync(join(FOLDER, 'mono-16.flac'))));
  });

  it.each(Object.keys(configs))('%s equal those of transformers', (name) => {
    const extractor = readFeatureExtractor(configs[name]);
    const features = extractor.extract(samples);
    expect(features.shape).toEqual(shapes[name]);
    expect(extractor.shape(samples.length)).toEqual(shapes[name]);
    const wanted = golden.get(`features.${name}`)?.toArray() as Float32Array;
    const frames = name.startsWith('whisper') ? transpose(features, 0, 1) : features;
    const values = contiguous(frames).toArray() as Float32Array;
    const width = frames.shape[1] ?? 1;
    const worst = wanted.reduce((largest, value, at) => {
      const got = values[Math.floor(at / width) * every * width + (at % width)] ?? NaN;
      return Math.max(largest, Math.abs(value - got));
    }, 0);
    expect(worst).toBeLessThan(TOLERANCES[name] ?? 0);
  });
});

describe('preprocessor_config.json', () => {
  const whisper = configs.whisper as object;
  it('is for audio if it names a feature extractor', () => {
    expect(isFeatureExtractor(whisper)).toBe(true);
    expect(isFeatureExtractor({ image_processor_type: 'ViTImageProcessor' })).toBe(false);
  });
  it.each([
    [{ feature_extractor_type: 'ClapFeatureExtractor' }, 'got "ClapFeatureExtractor"'],
    [{ ...whisper, dither: 0.1 }, 'dither: noise in the features'],
    [{ ...whisper, n_fft: 401 }, 'n_fft: '],
    [{ ...whisper, mel_norm: 'slaney' }, 'mel_norm'],
  ])('rejects %j, naming the key', (config, message) => {
    expect(() => readFeatureExtractor(config)).toThrow(message);
  });
});
