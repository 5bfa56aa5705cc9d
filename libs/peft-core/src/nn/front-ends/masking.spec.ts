import { expect, it } from 'vitest';
import { draws } from '../../data/permutation.js';
import { hiddenRows } from './masking.js';

const masking = { share: 0.05, length: 10, least: 2 };
const drawn = (rows: number, place: number, changes: object = {}): number[] =>
  hiddenRows({ ...masking, ...changes }, rows, draws({ seed: 1, epoch: 0, place }));

it('masks spans of a length, which differ by example and are reproducible', () => {
  expect(drawn(200, 1)).toEqual(drawn(200, 1));
  expect(drawn(200, 1)).not.toEqual(drawn(200, 2));
  const hidden = new Set(drawn(200, 1));
  for (const row of hidden) {
    expect(row).toBeGreaterThanOrEqual(0);
    expect(row).toBeLessThan(200);
    let [begin, end] = [row, row];
    while (hidden.has(begin - 1)) begin--;
    while (hidden.has(end + 1)) end++;
    expect(end - begin + 1).toBeGreaterThanOrEqual(10);
  }
});

it.each([
  ['at least the minimum', 200, {}, 20],
  ['as many as fit', 25, { least: 9 }, 20],
  ['nothing if no span fits', 9, {}, 0],
])('masks %s', (_, rows, changes, most) => {
  const counts = Array.from({ length: 50 }, (__, place) => drawn(rows, place, changes).length);
  expect(Math.max(...counts)).toBe(most);
});

it('masks about the given share of rows, less what overlaps', () => {
  const counts = Array.from(
    { length: 200 },
    (_, place) => drawn(1000, place, { share: 0.2 }).length,
  );
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  // with 20 spans, a row is masked with probability 1 − (1 − 10 / 991)^20
  expect(mean / 1000).toBeCloseTo(0.183, 2);
});
