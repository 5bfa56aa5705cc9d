import { expect, it } from 'vitest';
import { rateAt, warmupSteps } from './schedule.js';

// transformers 5.24.0, get_*_schedule_with_warmup(optimizer, 3, 11), rates of steps 0 to 11
const HF = {
  linear: [0, 0.333333333, 0.666666667, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0],
  cosine: [
    0, 0.333333333, 0.666666667, 1, 0.961939766, 0.853553391, 0.691341716, 0.5, 0.308658284,
    0.146446609, 0.038060234, 0,
  ],
  constant: [0, 0.333333333, 0.666666667, 1, 1, 1, 1, 1, 1, 1, 1, 1],
} as const;

for (const [schedule, rates] of Object.entries(HF)) {
  it(`${schedule} is transformers' own`, () => {
    rates.forEach((rate, step) =>
      expect(rateAt(schedule as keyof typeof HF, step, 3, 11)).toBeCloseTo(rate, 9),
    );
  });
}

it('rounds warm-up up, and takes none', () => {
  expect(warmupSteps(101, 0.03)).toBe(4);
  expect(warmupSteps(101, 0)).toBe(0);
  expect(rateAt('linear', 0, 0, 10)).toBe(1);
});
