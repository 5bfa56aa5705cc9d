import { expect, it } from 'vitest';
import { Cadence, intervalSeconds } from './cadence.js';

it('is Young’s interval between 2 % overhead and five minutes', () => {
  expect(intervalSeconds(2)).toBeCloseTo(293.939, 2);
  expect(intervalSeconds(0.01)).toBeCloseTo(20.785, 2);
  expect(intervalSeconds(5)).toBe(300);
  expect(intervalSeconds(60)).toBe(3000);
});

it('counts steps when told to', () => {
  const cadence = new Cadence(3);
  expect([1, 2, 3, 4, 5, 6].filter((step) => cadence.due(step))).toEqual([3, 6]);
});

it('measures how long saving takes', () => {
  let now = 0;
  const cadence = new Cadence(0, () => now);
  now = 250;
  expect(cadence.due(1)).toBe(true);
  expect(cadence.timed(() => ((now += 0.01), 'saved'))).toBe('saved');
  now += 15;
  expect(cadence.due(2)).toBe(false);
  now += 6;
  expect(cadence.due(3)).toBe(true);
});
