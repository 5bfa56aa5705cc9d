import { expect, it } from 'vitest';
import { Cadence, intervalSeconds } from './cadence.js';

const STEPS = Array.from({ length: 30 }, (_, i) => i + 1);

it('is Young’s interval between 2 % overhead and five minutes', () => {
  expect(intervalSeconds(2)).toBeCloseTo(293.939, 2);
  expect(intervalSeconds(0.01)).toBeCloseTo(20.785, 2);
  expect(intervalSeconds(5)).toBe(300);
  expect(intervalSeconds(60)).toBe(3000);
});

it('counts steps when told to, and epochs do not matter then', () => {
  const cadence = new Cadence(3, 0);
  expect([1, 2, 3, 4, 5, 6].filter((step) => cadence.due(step, true))).toEqual([3, 6]);
});

it('measures how long saving takes', () => {
  let now = 0;
  const cadence = new Cadence(0, 0, () => now);
  now = 250;
  expect(cadence.due(1, false)).toBe(true);
  expect(cadence.timed(1, () => ((now += 0.01), 'saved'))).toBe('saved');
  now += 15;
  expect(cadence.due(2, false)).toBe(false);
  now += 6;
  expect(cadence.due(3, false)).toBe(true);
});

/** Steps at which it saves, in epochs of `epoch` steps of a second, when saving takes so long. */
function saves(epoch: number, saveSeconds: number, from = 0): number[] {
  let now = 0;
  const cadence = new Cadence(0, from, () => now);
  return STEPS.filter((step) => step > from).filter((step) => {
    now += 1;
    if (!cadence.due(step, step % epoch === 0)) return false;
    cadence.timed(step, () => (now += saveSeconds));
    return true;
  });
}

it('saves at the ends of epochs, ten steps apart at least', () => {
  expect(saves(12, 0.01)).toEqual([12, 24]);
  expect(saves(3, 0.01)).toEqual([12, 24]);
  expect(saves(1, 0.01)).toEqual([10, 20, 30]);
  expect(saves(5, 0.01, 7)).toEqual([20, 30]);
});

it('leaves an epoch’s end out where saving would take over a tenth of the time', () => {
  expect(saves(10, 0.9)).toEqual([10, 20, 30]);
  expect(saves(10, 1.9)).toEqual([10, 30]);
});

it('knows the step that is saved', () => {
  const cadence = new Cadence(0, 4);
  expect(cadence.savedStep).toBe(4);
  cadence.timed(9, () => undefined);
  expect(cadence.savedStep).toBe(9);
});
