import { expect, it } from 'vitest';
import { rateAt, warmupSteps } from './schedule.js';

// transformers 5.24.0, get_*_schedule_with_warmup(optimizer, 3, 11), rates of steps 3 to 10. Its rates of
// steps 0 to 2 are 0, 1/3, 2/3.
const HF = {
  linear: [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
  cosine: [1, 0.961939766, 0.853553391, 0.691341716, 0.5, 0.308658284, 0.146446609, 0.038060234],
  constant: [1, 1, 1, 1, 1, 1, 1, 1],
} as const;

for (const [schedule, rates] of Object.entries(HF)) {
  it(`${schedule} has transformers' rates after the warm-up`, () => {
    // the transformers rates are written with nine digits
    rates.forEach((rate, i) =>
      expect(rateAt(schedule as keyof typeof HF, 3 + i, 3, 11)).toBeCloseTo(rate, 8),
    );
  });

  it(`${schedule} warms up evenly and has no step with rate 0`, () => {
    const warming = [0, 1, 2, 3].map((step) => rateAt(schedule as keyof typeof HF, step, 3, 11));
    expect(warming).toEqual([0.25, 0.5, 0.75, 1]);
    for (const total of [1, 2, 6, 100])
      for (const warmup of [0, 1, Math.ceil(total / 2), total])
        for (let step = 0; step < total; step++)
          expect(rateAt(schedule as keyof typeof HF, step, warmup, total)).toBeGreaterThan(0);
  });
}

it('rounds the number of warm-up steps up and accepts 0', () => {
  expect(warmupSteps(101, 0.03)).toBe(4);
  expect(warmupSteps(101, 0)).toBe(0);
  expect(rateAt('linear', 0, 0, 10)).toBe(1);
});
