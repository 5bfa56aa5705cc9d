/**
 * Metrics of predictions, from sums that add up over micro-batches. TP_k, FP_k, FN_k: counts of label k.
 *
 *   F1     mean of 2 TP / (2 TP + FP + FN) over the labels that occur as target or as prediction
 *   R      (c s - Σ p_k t_k) / √((s² - Σ p_k²)(s² - Σ t_k²))     Matthews' coefficient for several labels
 *          c = Σ TP_k, p_k = TP_k + FP_k, t_k = TP_k + FN_k, s: examples; 0 if a root is 0 (scikit-learn)
 *   r      (n Σxy - Σx Σy) / √((n Σx² - (Σx)²)(n Σy² - (Σy)²))   Pearson's
 */
import type { Sums } from '../task.js';

type Totals = Readonly<Record<string, number>>;

const KINDS = ['tp', 'fp', 'fn'] as const;
type Kind = (typeof KINDS)[number];

/** Returns the name of the total that counts predictions of a kind for a label. */
export const countOf = (kind: Kind, label: number | string): string => `${kind}/${label}`;

/** Returns the counts of each label that occurs. */
function counted(totals: Totals): Record<Kind, number>[] {
  const found = new Map<string, Record<Kind, number>>();
  for (const [name, value] of Object.entries(totals)) {
    const [kind, label] = name.split('/', 2) as [Kind, string | undefined];
    if (label === undefined || !KINDS.includes(kind)) continue;
    const counts = found.get(label) ?? { tp: 0, fp: 0, fn: 0 };
    counts[kind] += value;
    found.set(label, counts);
  }
  return [...found.values()].filter(({ tp, fp, fn }) => tp + fp + fn > 0);
}

/** Returns macro F1. Null if there are no labels. */
export function macroF1({ totals }: Sums): number | null {
  const labels = counted(totals);
  if (labels.length === 0) return null;
  const each = labels.map(({ tp, fp, fn }) => (2 * tp) / (2 * tp + fp + fn));
  return each.reduce((sum, value) => sum + value, 0) / labels.length;
}

/** Returns Matthews' coefficient. Null if the examples do not have one label each. */
export function matthews({ units: s, totals }: Sums): number | null {
  if (totals['single'] === undefined) return null;
  const labels = counted(totals);
  const sum = (of: (counts: Record<Kind, number>) => number): number =>
    labels.reduce((total, counts) => total + of(counts), 0);
  const c = sum(({ tp }) => tp);
  const both = sum(({ tp, fp, fn }) => (tp + fp) * (tp + fn));
  const predicted = s * s - sum(({ tp, fp }) => (tp + fp) ** 2);
  const real = s * s - sum(({ tp, fn }) => (tp + fn) ** 2);
  const below = Math.sqrt(predicted * real);
  return below === 0 ? 0 : (c * s - both) / below;
}

/**
 * Returns Pearson's coefficient. Null if there are no scores, or if targets or predictions are constant.
 */
export function pearson({ units: n, totals }: Sums): number | null {
  const of = (name: string): number => totals[name] ?? NaN;
  const [x, y] = [of('x'), of('y')];
  const below = Math.sqrt((n * of('xx') - x * x) * (n * of('yy') - y * y));
  return below > 0 ? (n * of('xy') - x * y) / below : null;
}
