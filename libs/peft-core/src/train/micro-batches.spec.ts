import { expect, it } from 'vitest';
import { microBatches, wholeBatches } from './micro-batches.js';

const cut = (budget: number, ...lengths: number[]) =>
  microBatches(
    lengths.map((rows) => ({ rows })),
    budget,
  ).map(({ examples, rows }) => {
    expect(rows).toBe(examples.reduce((sum, example) => sum + example.rows, 0));
    return examples.map((example) => example.rows);
  });

it('keeps the order, stays within the budget and makes batches of similar size', () => {
  expect(cut(100, 30, 30, 30, 30, 30)).toEqual([
    [30, 30, 30],
    [30, 30],
  ]);
  expect(cut(120, 40, 40, 40, 10)).toEqual([
    [40, 40],
    [40, 10],
  ]);
});

it('puts an example that is longer than the budget into its own batch', () => {
  expect(cut(100, 10, 500, 10)).toEqual([[10], [500], [10]]);
});

it('returns no batches without examples', () => {
  expect(cut(100)).toEqual([]);
});

it('does not split batches whose examples are contrasted with each other', () => {
  const examples = [5, 900, 3000, 7, 1].map((rows) => ({ rows }));
  expect(wholeBatches(examples, 2)).toEqual([
    { examples: examples.slice(0, 2), rows: 905 },
    { examples: examples.slice(2, 4), rows: 3007 },
    { examples: examples.slice(4), rows: 1 },
  ]);
});
