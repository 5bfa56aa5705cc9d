import { expect, it } from 'vitest';
import { fittedWeight, smoothed } from './smoothed.js';

it('averages the values so far, without overweighting the first', () => {
  const [one, two, three] = smoothed([6, 2, 0], 0.9);
  expect(one).toBe(6);
  expect(two).toBeCloseTo((0.9 * 6 + 2) / 1.9, 12);
  expect(three).toBeCloseTo((0.81 * 6 + 0.9 * 2 + 0) / 2.71, 12);
});

it('keeps constant values and gaps unchanged', () => {
  expect(smoothed([null, 3, null, 3], 0.9)).toEqual([null, 3, null, expect.closeTo(3, 12)]);
});

it('returns the values without a weight', () => {
  expect(smoothed([6, null, 2], 0)).toEqual([6, null, 2]);
});

it.each([
  [0, 0],
  [20, 0],
  [40, 0.5],
  [200, 0.9],
  [100_000, 0.99],
])('fits its weight to a run of %d steps: %d', (steps, weight) =>
  expect(fittedWeight(steps)).toBe(weight),
);

it.each([40, 400, 1500])('shows in %d steps that the loss has fallen', (steps) => {
  // The loss falls from 5 to 0.02 in the first fifth. The smoothed line must be low by half of the
  // run.
  const losses = Array.from({ length: steps }, (_, n) => Math.max(0.02, 5 - (25 * n) / steps));
  const mean = smoothed(losses, fittedWeight(steps))[steps / 2];
  expect(mean).toBeLessThan(0.05);
});
