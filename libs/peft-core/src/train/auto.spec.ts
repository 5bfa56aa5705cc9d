import { expect, it } from 'vitest';
import { autoNumbers } from './auto.js';

const planned = (records: number, given: Partial<Parameters<typeof autoNumbers>[0]> = {}) => {
  const facts = { records, accumulation: 1, maxSteps: null, ...given };
  const { batchSize, epochs } = autoNumbers(facts);
  const steps = epochs * Math.ceil(records / (batchSize * facts.accumulation));
  return { batchSize, epochs, steps: Math.min(steps, facts.maxSteps ?? Infinity) };
};

it.each([
  [12, { batchSize: 1, epochs: 9, steps: 108 }],
  [50, { batchSize: 1, epochs: 3, steps: 150 }],
  [100, { batchSize: 3, epochs: 3, steps: 102 }],
  [200, { batchSize: 6, epochs: 3, steps: 102 }],
  [1_000, { batchSize: 8, epochs: 2, steps: 250 }],
  [9_999, { batchSize: 8, epochs: 2, steps: 2_500 }],
  [20_000, { batchSize: 8, epochs: 1, steps: 2_500 }],
])('%i records', (records, expected) => {
  expect(planned(records)).toEqual(expected);
});

it('gives small data at least 100 steps: smaller batches first, then more epochs', () => {
  let before = 0;
  for (let records = 4; records < 3_000; records++) {
    const { batchSize, epochs, steps } = planned(records);
    expect(steps, String(records)).toBeGreaterThanOrEqual(100);
    if (epochs > 3) expect(batchSize).toBe(1);
    expect(batchSize).toBeGreaterThanOrEqual(Math.min(before, 8));
    before = batchSize;
  }
  // the number of epochs is limited: a single example is not read a hundred times
  expect(planned(1)).toEqual({ batchSize: 1, epochs: 25, steps: 25 });
});

it('uses the given batch size, epochs and accumulation', () => {
  expect(planned(12, { batchSize: 4 })).toMatchObject({ batchSize: 4, epochs: 25, steps: 75 });
  expect(planned(12, { epochs: 2 })).toMatchObject({ batchSize: 1, epochs: 2 });
  expect(planned(400, { epochs: 1 })).toMatchObject({ batchSize: 4, epochs: 1, steps: 100 });
  expect(planned(200, { accumulation: 4 })).toMatchObject({ batchSize: 1, epochs: 3, steps: 150 });
  expect(planned(400, { accumulation: 4 })).toMatchObject({ batchSize: 3, epochs: 3, steps: 102 });
  expect(planned(12, { maxSteps: 5 })).toMatchObject({ batchSize: 7, epochs: 3, steps: 5 });
  expect(planned(12, { maxSteps: 1_000 })).toMatchObject({ batchSize: 1, epochs: 9, steps: 108 });
  expect(planned(3, { maxSteps: 1 })).toMatchObject({ batchSize: 3 });
});
