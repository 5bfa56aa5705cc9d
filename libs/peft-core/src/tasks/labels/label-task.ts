// Parts shared by tasks that label whole inputs: checks, targets, loss, answers and metrics.
import { add, backward, mul, tidy, to, type Tensor } from '@graft/kernels';
import type { Model } from '../../models/model.js';
import type { BatchContext } from '../../nn/context.js';
import { headOutputs, type HeadShare } from '../heads/head-outputs.js';
import { answers, labelLosses, type Labelled } from './label-losses.js';
import { macroF1 } from './label-metrics.js';
import { realOf, type LabelOptions } from './label-survey.js';
import { isLabel, numberOf, type Label } from './labels.js';
import { mean, type Chance, type Metric, type Share, type Sums } from '../task.js';

/** Returns why a label is invalid, or null. */
export function checkLabel(label: unknown): string | null {
  if (label === '' || label === null)
    return '"label" is empty: label the record, or remove it from the file';
  const list = Array.isArray(label) ? (label as unknown[]) : null;
  if (list === null)
    return isLabel(label)
      ? null
      : '"label" must be a name of at most 200 characters, a number, or a list of these';
  const wrong = list.findIndex((one) => !isLabel(one));
  if (wrong >= 0) return `"label"[${wrong}] must be a name of at most 200 characters or a number`;
  return new Set(list.map(String)).size === list.length ? null : '"label" lists a label twice';
}

/** Returns the target of a label. @throws DomainError for an unknown label */
export function targetOf(
  label: unknown,
  { problem_type: problem, labels }: LabelOptions,
): Float64Array {
  const names = labels ?? [];
  if (problem === 'regression') return Float64Array.of(realOf(label) ?? NaN);
  if (problem !== 'multi_label_classification')
    return Float64Array.of(numberOf(label as Label, names));
  const target = new Float64Array(names.length);
  for (const one of label as readonly Label[]) target[numberOf(one, names)] = 1;
  return target;
}

/** Returns the head's outputs for the inputs of each share, [inputs, labels] in f32. */
const outputsOf = (model: Model, shares: readonly HeadShare[], ctx: BatchContext): Tensor[] =>
  headOutputs(model, shares, ctx).map((logits) => to(logits, 'f32'));

type Labels<E, O> = readonly Share<E, O>[];

/** @param read inputs of the shares in the form that the head reads */
export function labelLoss<E extends Labelled, O extends LabelOptions>(
  model: Model,
  shares: Labels<E, O>,
  read: readonly HeadShare[],
  ctx: BatchContext,
  scales: ReadonlyMap<number, number> | null,
): Map<number, Sums> {
  const outputs = outputsOf(model, read, ctx);
  const sums = new Map<number, Sums>();
  const weighed = shares.map(({ run, examples, options }, i) => {
    const found = labelLosses(outputs[i] as Tensor, examples, options);
    sums.set(run, { units: examples.length, totals: found.totals });
    return mul(found.loss, scales?.get(run) ?? 0);
  });
  if (scales) backward([weighed.reduce((a, b) => add(a, b))], [null]);
  return sums;
}

export const labelAnswers = <E, O extends LabelOptions>(
  model: Model,
  shares: Labels<E, O>,
  read: readonly HeadShare[],
  ctx: BatchContext,
): unknown[] =>
  tidy(() => {
    const outputs = outputsOf(model, read, ctx);
    return shares.flatMap(({ options }, i) => answers(outputs[i] as Tensor, options));
  });

/** Returns the loss of guessing. Training starts there, because the head is new. */
export function chanceOf({ problem_type: problem, labels }: LabelOptions): Chance {
  if (problem === 'regression') return { loss: Infinity, of: 'a measure', isStart: true };
  if (problem === 'multi_label_classification')
    return { loss: Math.LN2, of: 'whether each label applies', isStart: true };
  const count = labels?.length ?? 2;
  return { loss: Math.log(count), of: `among ${count} labels`, isStart: true };
}

export const LABEL_METRICS: readonly Metric[] = [
  {
    name: 'loss',
    title: 'Loss',
    unit: null,
    draw: { smooth: true, log: true },
    of: mean('loss'),
  },
  {
    name: 'accuracy',
    title: 'Accuracy',
    unit: '%',
    draw: { smooth: true, log: false },
    of: (sums) => (sums.totals['right'] === undefined ? null : mean('right')(sums)),
  },
  {
    name: 'f1',
    title: 'Macro F1',
    unit: '%',
    draw: { smooth: true, log: false },
    of: macroF1,
  },
];

/** Top-5 accuracy, for single labels out of at least six. */
export const TOP_5: Metric = {
  name: 'top_5_accuracy',
  title: 'Top-5 accuracy',
  unit: '%',
  draw: { smooth: true, log: false },
  of: (sums) => (sums.totals['top5'] === undefined ? null : mean('top5')(sums)),
};
