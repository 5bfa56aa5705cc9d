/** Losses of labeled sequences and counts of their predictions (seq-cls.ts). n: number of sequences. */
import {
  binaryCrossEntropyWithLogits,
  crossEntropy,
  div,
  noGrad,
  sigmoid,
  softmax,
  square,
  sub,
  sum,
  tensor,
  view,
  type Tensor,
} from '@graft/kernels';
import type { JsonObject } from '../../data/json-line.js';
import { confusedAs, seenAs } from './confusion.js';
import { countOf } from './label-metrics.js';
import type { LabelOptions, Problem } from './label-survey.js';

/** Target of a sequence: the index of its label, 0 or 1 for each label, or a score. */
export interface Labelled {
  readonly target: Float64Array;
  /** Line number in its file. Set on validation examples, for the confusion matrix. */
  readonly line?: number;
}

export interface LabelLosses {
  /** Sum over the examples, with its autograd graph. */
  readonly loss: Tensor;
  readonly totals: Readonly<Record<string, number>>;
}

export function labelLosses(
  logits: Tensor,
  examples: readonly Labelled[],
  { problem_type: problem }: LabelOptions,
): LabelLosses {
  const [n, outputs] = logits.shape as [number, number];
  const loss = lossOf(logits, examples, problem);
  const values = noGrad(() => logits.detach().toArray() as Float32Array);
  const totals: Record<string, number> = { loss: loss.item() };
  const count: Count = (name, value) => {
    totals[name] = (totals[name] ?? 0) + value;
  };
  for (let i = 0; i < n; i++) {
    const { target, line } = examples[i] as Labelled;
    const row = values.subarray(i * outputs, (i + 1) * outputs);
    if (problem === 'regression') countMeasure(row[0] as number, target[0] as number, count);
    else if (problem === 'multi_label_classification') countLabels(row, target, count);
    else countLabel(row, target[0] as number, line, count);
  }
  return { loss, totals };
}

/** Returns the sum of the losses. logits: [n, outputs] */
function lossOf(logits: Tensor, examples: readonly Labelled[], problem: Problem | null): Tensor {
  const [n, outputs] = logits.shape as [number, number];
  const targets = examples.flatMap(({ target }) => [...target]);
  if (problem === 'regression')
    return sum(square(sub(view(logits, [n]), tensor(Float32Array.from(targets), [n]))));
  if (problem === 'multi_label_classification') {
    const y = tensor(Float32Array.from(targets), [n, outputs]);
    return div(binaryCrossEntropyWithLogits(logits, y, { reduction: 'sum' }), outputs);
  }
  const y = tensor(
    BigInt64Array.from(targets, (one) => BigInt(one)),
    [n],
  );
  return crossEntropy(logits, y, { reduction: 'sum' });
}

type Count = (name: string, value: number) => void;

const likeliest = (row: Float32Array): number =>
  row.reduce((best, value, i) => (value > (row[best] as number) ? i : best), 0);

/** k of the top-k accuracy, which is not counted for k labels or fewer. */
const FEW = 5;

/**
 * Returns how many labels rank before this one: those with a higher logit, and earlier ones with the same
 * logit. If any logit is NaN, the rank is at least 1.
 */
const rankOf = (row: Float32Array, label: number): number => {
  const own = row[label] as number;
  return row.reduce(
    (count, value, i) => count + Number(!(value < own) && (value !== own || i < label)),
    0,
  );
};

function countLabel(
  row: Float32Array,
  wanted: number,
  line: number | undefined,
  count: Count,
): void {
  const [found, rank] = [likeliest(row), rankOf(row, wanted)];
  count('single', 1);
  count('right', Number(rank === 0));
  if (row.length > FEW) count('top5', Number(rank < FEW));
  if (line !== undefined) count(seenAs(wanted, rank === 0 ? wanted : found, line), 1);
  if (rank === 0) count(countOf('tp', wanted), 1);
  else {
    count(countOf('fp', found), 1);
    count(countOf('fn', wanted), 1);
    count(confusedAs(wanted, found), 1);
  }
}

/** Counts a multi-label prediction. It is right if all labels are right. */
function countLabels(row: Float32Array, wanted: Float64Array, count: Count): void {
  let right = 1;
  row.forEach((value, label) => {
    const [found, real] = [value > 0, wanted[label] === 1];
    if (found !== real) right = 0;
    if (found && real) count(countOf('tp', label), 1);
    if (found && !real) count(countOf('fp', label), 1);
    if (!found && real) count(countOf('fn', label), 1);
  });
  count('right', right);
}

function countMeasure(x: number, y: number, count: Count): void {
  count('x', x);
  count('y', y);
  count('xx', x * x);
  count('yy', y * y);
  count('xy', x * y);
}

/**
 * Returns the score, the label with the highest probability, or all labels with a probability above 0.5.
 * For labels, also returns the probability of each.
 */
export function answers(
  logits: Tensor,
  { problem_type: problem, labels }: LabelOptions,
): JsonObject[] {
  const [n, outputs] = logits.shape as [number, number];
  const isMulti = problem === 'multi_label_classification';
  if (problem === 'regression')
    return [...(logits.toArray() as Float32Array)].map((value) => ({ value }));
  const likely = (isMulti ? sigmoid(logits) : softmax(logits, -1)).toArray() as Float32Array;
  const names = labels ?? [];
  return Array.from({ length: n }, (_, i) => {
    const row = likely.subarray(i * outputs, (i + 1) * outputs);
    const probabilities = Object.fromEntries(names.map((name, k) => [name, row[k]]));
    return isMulti
      ? { labels: names.filter((__, k) => (row[k] as number) > 0.5), probabilities }
      : { label: names[likeliest(row)], probabilities };
  });
}
