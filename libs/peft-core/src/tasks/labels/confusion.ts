// Confusion matrix of tasks with one label per input, from sums that add up over micro-batches.
import {
  MOST_CONFUSED,
  MOST_CONFUSED_WHOLE,
  MOST_NAMED,
  MOST_NAMED_OF_PAIR,
  MOST_RATED,
  type Confusion,
} from '@graft/contracts';
import { countOf } from './label-metrics.js';
import type { LabelOptions } from './label-survey.js';
import type { Sums } from '../task.js';

const CELL = 'confused';
const SEEN = 'seen';

/** Returns the name of the total that counts how often one label was predicted instead of another. */
export const confusedAs = (wanted: number, found: number): string => `${CELL}/${wanted}/${found}`;

/** Returns the name of the total that records the predicted label for the example on a line. */
export const seenAs = (wanted: number, found: number, line: number): string =>
  `${SEEN}/${wanted}/${found}/${line}`;

/** Returns the confusion matrix. Null if the inputs do not have one label each. */
export function confusionOf({ totals }: Sums, { labels }: LabelOptions): Confusion | null {
  if (totals['single'] === undefined || labels === null) return null;
  const count = (name: string): number => totals[name] ?? 0;
  const classes =
    labels.length <= MOST_RATED
      ? labels.flatMap((_, i) => (['tp', 'fp', 'fn'] as const).map((kind) => count(countOf(kind, i)))) // prettier-ignore
      : [];
  const cells = numbersOf(totals, CELL)
    .map(([label = 0, taken = 0, times = 0]) => [label, taken, times] as const)
    .sort(([a, b, n], [c, d, m]) => m - n || a - c || b - d)
    .slice(0, labels.length <= MOST_CONFUSED_WHOLE ? Infinity : MOST_CONFUSED);
  const right = labels.slice(0, MOST_CONFUSED_WHOLE).map((_, i) => [i, i] as const);
  const examples = named(totals, [...cells, ...right]);
  return { classes, cells: cells.flat(), examples };
}

/** Returns examples of each pair of labels: the first ones of the file. */
function named(totals: Sums['totals'], pairs: readonly (readonly number[])[]): number[] {
  const lines = new Map<string, number[]>();
  for (const [label, taken, line = 0] of numbersOf(totals, SEEN)) {
    const key = `${label}/${taken}`;
    const known = lines.get(key);
    if (known) known.push(line);
    else lines.set(key, [line]);
  }
  const found = pairs.flatMap(([label = 0, taken = 0]) =>
    (lines.get(`${label}/${taken}`) ?? [])
      .sort((a, b) => a - b)
      .slice(0, MOST_NAMED_OF_PAIR)
      .map((line) => [label, taken, line]),
  );
  return found.slice(0, MOST_NAMED).flat();
}

/** Returns the numbers in the names of all totals of a kind, each followed by the value of the total. */
const numbersOf = (totals: Sums['totals'], kind: string): number[][] =>
  Object.entries(totals)
    .filter(([name]) => name.startsWith(`${kind}/`))
    .map(([name, total]) => [...name.split('/').slice(1).map(Number), total]);
