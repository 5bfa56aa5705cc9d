import { tensor, tidy } from '@graft/kernels';
import { expect, it } from 'vitest';
import { confusedAs, confusionOf } from './confusion.js';
import { labelLosses } from './label-losses.js';
import { addTotals } from '../task.js';

const OPTIONS = { problem_type: 'single_label_classification', labels: ['a', 'b', 'c'] } as const;

/** Returns the sums of examples given as (label, prediction). */
function sumsOf(pairs: readonly (readonly [number, number])[], lines: readonly number[] = []) {
  const totals: Record<string, number> = {};
  // in micro-batches of two
  for (let at = 0; at < pairs.length; at += 2) {
    const some = pairs.slice(at, at + 2);
    const logits = some.flatMap(([, predicted]) => [0, 1, 2].map((i) => Number(i === predicted)));
    const targets = some.map(([label], i) => {
      const line = lines[at + i];
      return { target: Float64Array.of(label), ...(line !== undefined && { line }) };
    });
    addTotals(
      totals,
      tidy(() => labelLosses(tensor(logits, [some.length, 3]), targets, OPTIONS).totals),
    );
  }
  return { units: pairs.length, totals };
}

it('counts wrong predictions for each label, most frequent first', () => {
  const sums = sumsOf([[0, 0], [0, 1], [0, 1], [1, 1], [2, 0], [2, 2], [0, 0]]); // prettier-ignore
  expect(confusionOf(sums, OPTIONS)).toEqual({
    // true positives, false positives and false negatives of each label
    classes: [2, 1, 2, 1, 2, 0, 1, 0, 1],
    cells: [0, 1, 2, 2, 0, 1],
    examples: [],
  });
});

it('returns the first lines of each pair in any order of the examples', () => {
  const pairs = Array.from({ length: 30 }, (_, i) => [i % 3, i % 2 === 0 ? i % 3 : 0] as const);
  const lines = pairs.map((_, i) => 100 - i);
  const { examples } = confusionOf(sumsOf(pairs, lines), OPTIONS) ?? {};
  const of = (label: number, predicted: number): number[] =>
    pairs.flatMap((pair, i) => (pair[0] === label && pair[1] === predicted ? [lines[i] as number] : [])).sort((a, b) => a - b).slice(0, 10); // prettier-ignore
  const expected = [[1, 0], [2, 0], [0, 0], [1, 1], [2, 2]] as const; // prettier-ignore
  expect(examples).toEqual(
    expected.flatMap(([label, predicted]) =>
      of(label, predicted).flatMap((line) => [label, predicted, line]),
    ),
  );
  expect(of(0, 0)).toHaveLength(10);
});

it('is null without single labels', () => {
  expect(confusionOf({ units: 1, totals: { right: 1 } }, OPTIONS)).toBeNull();
  expect(confusionOf(sumsOf([[0, 0]]), { ...OPTIONS, labels: null })).toBeNull();
});

it('keeps the most confused pairs, and counts by label for up to 1000 labels', () => {
  const totals: Record<string, number> = { single: 1 };
  for (let i = 0; i < 300; i++) totals[confusedAs(i % 60, 60 + i)] = 1 + (i % 7);
  const labels = (count: number) => Array.from({ length: count }, (_, i) => String(i));
  const found = confusionOf({ units: 1, totals }, { ...OPTIONS, labels: labels(400) });
  expect(found?.classes).toHaveLength(3 * 400);
  expect(found?.cells).toHaveLength(3 * 200);
  const times = found?.cells.filter((_, i) => i % 3 === 2) ?? [];
  expect(times).toEqual(times.toSorted((a, b) => b - a));
  expect(confusionOf({ units: 1, totals }, { ...OPTIONS, labels: labels(1001) })?.classes).toEqual(
    [],
  );
});
