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

it('keeps order, stays within the budget and makes even pieces', () => {
  expect(cut(100, 30, 30, 30, 30, 30)).toEqual([
    [30, 30, 30],
    [30, 30],
  ]);
  expect(cut(120, 40, 40, 40, 10)).toEqual([
    [40, 40],
    [40, 10],
  ]);
});

it('lets an example that is longer than the budget go alone', () => {
  expect(cut(100, 10, 500, 10)).toEqual([[10], [500], [10]]);
});

it('has nothing to do without examples', () => {
  expect(cut(100)).toEqual([]);
});

it('leaves batches whole where their examples are learnt from each other', () => {
  const examples = [5, 900, 3000, 7, 1].map((rows) => ({ rows }));
  expect(wholeBatches(examples, 2)).toEqual([
    { examples: examples.slice(0, 2), rows: 905 },
    { examples: examples.slice(2, 4), rows: 3007 },
    { examples: examples.slice(4), rows: 1 },
  ]);
});
