import { MAX_ASKED_MEDIA_BYTES } from '@graft/contracts/limits';
import { decodeAudio } from '@graft/peft-core/media';
import { expect, it } from 'vitest';
import { MOST_SECONDS, wavOf } from './recording.js';

it('is a WAV file of what was heard, cut where it is too loud', () => {
  const file = wavOf([Float32Array.from([0, 0.5]), Float32Array.from([-2])], 16_000);
  const { samples, samplingRate } = decodeAudio(new Uint8Array(file));
  expect(samplingRate).toBe(16_000);
  expect([...samples].map((value) => Math.round(value * 1000) / 1000)).toEqual([0, 0.5, -1]);
});

it('is taken by the API however long it is recorded', () => {
  expect(MOST_SECONDS).toBe(599);
  // what the last piece that is taken has beyond
  const length = 16_000 * MOST_SECONDS + 2047;
  expect(length).toBeLessThanOrEqual(16_000 * 600);
  expect(44 + 2 * length).toBeLessThanOrEqual(MAX_ASKED_MEDIA_BYTES);
});
