import { expect, it } from 'vitest';
import { stepsWithin } from './method-budget.js';

it('divides the budget among the methods and slots', () => {
  const job = { steps: 102, seconds: 102 };
  expect(stepsWithin({ ...job, minutes: 5, slots: 1 })).toBe(42);
  expect(stepsWithin({ ...job, minutes: 5, slots: 2 })).toBe(85);
  expect(stepsWithin({ ...job, minutes: 15, slots: 2 })).toBe(102);
  // Fewer steps compare nothing.
  expect(stepsWithin({ ...job, minutes: 1, slots: 1 })).toBe(20);
  expect(stepsWithin({ ...job, seconds: null, minutes: 5, slots: 1 })).toBeNull();
});
