import { expect, it } from 'vitest';
import { labelVariety } from './label-variety.js';

const variety = (...labels: string[]): string | null => {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return labelVariety(counts, 'training file');
};

it('warns of a single label', () => {
  expect(variety('card', 'card')).toBe(
    'Every record of the training file has the label "card": there is nothing to distinguish.',
  );
});

it('warns of one label per record', () => {
  expect(variety('a', 'b', 'c')).toBe(
    'Each of the 3 records of the training file has a label of its own: a model learns a label from several records.',
  );
});

it('accepts labels of which at least one repeats, one record, and records without labels', () => {
  expect([variety('a', 'b', 'a'), variety('a'), variety()]).toEqual([null, null, null]);
});
