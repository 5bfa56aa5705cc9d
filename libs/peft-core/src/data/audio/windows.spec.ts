import { expect, it } from 'vitest';
import { decodeAudio } from './decode-audio.js';
import { quietEnd, wavFile } from './windows.js';

const MOST = 3000;
/** Audio of constant loudness with silence in the given ranges. */
function sound(length: number, ...gaps: readonly (readonly [number, number])[]): Float32Array {
  const samples = new Float32Array(length).fill(0.5);
  for (const [from, to] of gaps) samples.fill(0, from, to);
  return samples;
}

it('keeps short audio in one window', () => expect(quietEnd(sound(MOST), 0, MOST)).toBe(MOST));

it('splits at the quietest part of the last sixth, the last of equal ones', () => {
  const samples = sound(9000, [1000, 1400], [2600, 2620], [2800, 2820]);
  expect(quietEnd(samples, 0, MOST)).toBe(2810);
  expect(quietEnd(sound(9000, [1000, 1400], [2600, 2620]), 0, MOST)).toBe(2610);
  expect(quietEnd(samples, 2810, MOST)).toBeGreaterThan(2810 + (5 / 6) * MOST);
});

it('leaves no short rest after the last split', () => {
  for (let length = MOST + 1; length < MOST + 200; length += 7) {
    const end = quietEnd(sound(length, [length - 20, length]), 0, MOST);
    expect(end).toBeGreaterThanOrEqual((5 / 6) * MOST);
    expect(end).toBeLessThanOrEqual(Math.min(MOST, length - MOST / 30));
  }
});

it('encodes a window as a file with the same samples', () => {
  const samples = Float32Array.from([0, 0.1, -1, 1 / 3, 1]);
  const read = decodeAudio(wavFile(samples.subarray(1), 16_000));
  expect(read).toEqual({ samples: samples.slice(1), samplingRate: 16_000, values: 4 });
});
