// Confusion matrices: conversion from the worker's format to jsonb, and to the format of the API.
import {
  MOST_CONFUSED_WHOLE,
  MOST_NAMED,
  MOST_RATED,
  type Confusion,
  type JobConfusionObject,
} from '@graft/contracts';
import type { Spec } from '@graft/contracts';

/** Maximum number of cells: all pairs of labels where the whole matrix is stored. */
const MOST_CELLS = MOST_CONFUSED_WHOLE ** 2;

/**
 * Converts a confusion matrix to text for a jsonb column. Null if there is none or if it does not fit the
 * job's labels, which a worker of another build may cause.
 */
export function confusionText(
  found: Confusion | undefined,
  spec: Pick<Spec, 'task_options'>,
): string | null {
  if (!found) return null;
  const { classes, cells, examples = [] } = found;
  const labels = labelsOf(spec);
  const count = labels?.length ?? Infinity;
  const fits =
    classes.length % 3 === 0 &&
    cells.length % 3 === 0 &&
    classes.length <= 3 * Math.min(count, MOST_RATED) &&
    cells.length <= 3 * MOST_CELLS &&
    examples.length % 3 === 0 &&
    examples.length <= 3 * MOST_NAMED &&
    [...cells, ...examples].every((one, i) => i % 3 === 2 || one < count);
  if (!fits) return null;
  return JSON.stringify({ classes, cells, examples, majority: majorityOf(classes) });
}

/** Accuracy of always predicting the most frequent label; null if the label counts are unknown. */
export function majorityOf(classes: readonly number[]): number | null {
  const supports = triples(classes).map(([tp, , fn]) => tp + fn);
  const all = supports.reduce((sum, support) => sum + support, 0);
  return all === 0 ? null : Math.max(...supports) / all;
}

/**
 * Labels of the task. Null if the data was not read before the job started, so that only the worker knows
 * them.
 */
function labelsOf({ task_options: options }: Pick<Spec, 'task_options'>): readonly string[] | null {
  const { labels } = (options ?? {}) as { labels?: readonly string[] | null };
  return labels ?? null;
}

type Shown = Pick<JobConfusionObject, 'examples' | 'majority_accuracy' | 'classes' | 'confused'>;

export function responseConfusion(
  { classes, cells, examples = [] }: Confusion,
  spec: Pick<Spec, 'task_options'>,
): Shown {
  const labels = labelsOf(spec);
  const name = (at: number): string => labels?.[at] ?? `label ${at}`;
  const ratio = (part: number, whole: number): number | null => (whole > 0 ? part / whole : null);
  const named = new Map<string, number[]>();
  for (const [label, taken, line] of triples(examples)) {
    const key = `${label}/${taken}`;
    named.set(key, [...(named.get(key) ?? []), line]);
  }
  const lines = (label: number, taken: number): number[] => named.get(`${label}/${taken}`) ?? [];
  const rated = triples(classes).map(([tp, fp, fn], at) => ({
    label: name(at),
    support: tp + fn,
    correct: tp,
    predicted: tp + fp,
    precision: ratio(tp, tp + fp),
    recall: ratio(tp, tp + fn),
    f1: ratio(2 * tp, 2 * tp + fp + fn),
    lines: lines(at, at),
  }));
  return {
    examples: rated.length > 0 ? rated.reduce((sum, { support }) => sum + support, 0) : null,
    majority_accuracy: majorityOf(classes),
    classes: rated,
    confused: triples(cells).map(([label, predicted, count]) => ({
      label: name(label),
      predicted: name(predicted),
      count,
      lines: lines(label, predicted),
    })),
  };
}

const triples = (flat: readonly number[]): (readonly [number, number, number])[] =>
  Array.from({ length: flat.length / 3 }, (_, i) => {
    const [a = 0, b = 0, c = 0] = flat.slice(3 * i);
    return [a, b, c] as const;
  });
