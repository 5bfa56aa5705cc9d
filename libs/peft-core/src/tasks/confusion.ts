// Which labels are taken for which, from sums that add up over micro-batches: of tasks with one label for each input.
import { MOST_CONFUSED, MOST_CONFUSED_WHOLE, MOST_RATED, type Confusion } from '@graft/contracts';
import { countOf } from './label-metrics.js';
import type { LabelOptions } from './label-survey.js';
import type { Sums } from './task.js';

const CELL = 'confused';

/** The total that counts how often a label is taken for another. */
export const confusedAs = (wanted: number, found: number): string => `${CELL}/${wanted}/${found}`;

/** Null where inputs have no one label each. */
export function confusionOf({ totals }: Sums, { labels }: LabelOptions): Confusion | null {
  if (totals['single'] === undefined || labels === null) return null;
  const count = (name: string): number => totals[name] ?? 0;
  const classes =
    labels.length <= MOST_RATED
      ? labels.flatMap((_, i) => (['tp', 'fp', 'fn'] as const).map((kind) => count(countOf(kind, i)))) // prettier-ignore
      : [];
  const cells = Object.entries(totals)
    .filter(([name]) => name.startsWith(`${CELL}/`))
    .map(
      ([name, times]) =>
        [...name.split('/').slice(1).map(Number), times] as [number, number, number],
    ) // prettier-ignore
    .sort(([a, b, n], [c, d, m]) => m - n || a - c || b - d);
  const most = labels.length <= MOST_CONFUSED_WHOLE ? cells.length : MOST_CONFUSED;
  return { classes, cells: cells.slice(0, most).flat() };
}
