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

it('a sound that is heard at once is one window', () =>
  expect(quietEnd(sound(MOST), 0, MOST)).toBe(MOST));

it('is cut in the quietest place of the last sixth, of equal ones the last', () => {
  const samples = sound(9000, [1000, 1400], [2600, 2620], [2800, 2820]);
  expect(quietEnd(samples, 0, MOST)).toBe(2810);
  expect(quietEnd(sound(9000, [1000, 1400], [2600, 2620]), 0, MOST)).toBe(2610);
  expect(quietEnd(samples, 2810, MOST)).toBeGreaterThan(2810 + (5 / 6) * MOST);
});

it('leaves no scrap behind the last cut', () => {
  for (let length = MOST + 1; length < MOST + 200; length += 7) {
    const end = quietEnd(sound(length, [length - 20, length]), 0, MOST);
    expect(end).toBeGreaterThanOrEqual((5 / 6) * MOST);
    expect(end).toBeLessThanOrEqual(Math.min(MOST, length - MOST / 30));
  }
});

it('a window is a file of the very same samples', () => {
  const samples = Float32Array.from([0, 0.1, -1, 1 / 3, 1]);
  const read = decodeAudio(wavFile(samples.subarray(1), 16_000));
  expect(read).toEqual({ samples: samples.slice(1), samplingRate: 16_000, values: 4 });
});
