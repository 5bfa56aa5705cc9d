import { expect, it } from 'vitest';
import { CheckpointSchedule, intervalSeconds } from './checkpoint-schedule.js';

const STEPS = Array.from({ length: 30 }, (_, i) => i + 1);

it('uses Young’s interval, limited by 2 % overhead and five minutes', () => {
  expect(intervalSeconds(2)).toBeCloseTo(293.939, 2);
  expect(intervalSeconds(0.01)).toBeCloseTo(20.785, 2);
  expect(intervalSeconds(5)).toBe(300);
  expect(intervalSeconds(60)).toBe(3000);
});

it('saves every save_steps steps, independently of epochs', () => {
  const schedule = new CheckpointSchedule(3, 0);
  expect([1, 2, 3, 4, 5, 6].filter((step) => schedule.due(step, true))).toEqual([3, 6]);
});

it('measures how long saving takes', () => {
  let now = 0;
  const schedule = new CheckpointSchedule(0, 0, () => now);
  now = 250;
  expect(schedule.due(1, false)).toBe(true);
  expect(schedule.timed(1, () => ((now += 0.01), 'saved'))).toBe('saved');
  now += 15;
  expect(schedule.due(2, false)).toBe(false);
  now += 6;
  expect(schedule.due(3, false)).toBe(true);
});

/** Steps at which a checkpoint is saved, with epochs of `epoch` one-second steps and saves of `saveSeconds`. */
function saves(epoch: number, saveSeconds: number, from = 0): number[] {
  let now = 0;
  const schedule = new CheckpointSchedule(0, from, () => now);
  return STEPS.filter((step) => step > from).filter((step) => {
    now += 1;
    if (!schedule.due(step, step % epoch === 0)) return false;
    schedule.timed(step, () => (now += saveSeconds));
    return true;
  });
}

it('saves at the ends of epochs, at least ten steps apart', () => {
  expect(saves(12, 0.01)).toEqual([12, 24]);
  expect(saves(3, 0.01)).toEqual([12, 24]);
  expect(saves(1, 0.01)).toEqual([10, 20, 30]);
  expect(saves(5, 0.01, 7)).toEqual([20, 30]);
});

it('skips the end of an epoch if saving would take more than a tenth of the time', () => {
  expect(saves(10, 0.9)).toEqual([10, 20, 30]);
  expect(saves(10, 1.9)).toEqual([10, 30]);
});

it('returns the step of the last checkpoint', () => {
  const schedule = new CheckpointSchedule(0, 4);
  expect(schedule.savedStep).toBe(4);
  schedule.timed(9, () => undefined);
  expect(schedule.savedStep).toBe(9);
});
