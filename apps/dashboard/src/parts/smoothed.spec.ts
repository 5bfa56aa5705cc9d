import { expect, it } from 'vitest';
import { smoothed } from './smoothed.js';

it('means what has been seen, the first value no more than its share', () => {
  const [one, two, three] = smoothed([6, 2, 0]);
  expect(one).toBe(6);
  expect(two).toBeCloseTo((0.9 * 6 + 2) / 1.9, 12);
  expect(three).toBeCloseTo((0.81 * 6 + 0.9 * 2 + 0) / 2.71, 12);
});

it('leaves a level where it is, and gaps as they are', () => {
  expect(smoothed([null, 3, null, 3])).toEqual([null, 3, null, expect.closeTo(3, 12)]);
});
