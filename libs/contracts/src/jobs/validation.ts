// Defaults of the validation split, and texts about validation results. No zod: the dashboard bundles this file.
import type { JobObject } from './job-objects.js';

/** Fraction of the training file that is held out by default. */
export const HELD_OUT = 0.1;

/** Default seed that selects the held-out records. */
export const SPLIT_SEED = 42;

/** Minimum number of records in a training file for the default split. */
export const HELD_OUT_FROM = 50;

/** Maximum number of validation examples in evaluations before the end of a run; they use the first ones. */
export const EVALUATED_BEFORE_END = 64;

/** Returns "25 held-out examples" or "1,200 validation examples (64 before the end)"; null if unknown. */
export function validationExamples({
  validation_file: file,
  graft: { data },
}: Pick<JobObject, 'validation_file' | 'graft'>): string | null {
  const examples = data?.validation_examples;
  if (examples === undefined) return null;
  const noun = `${file === null ? 'held-out' : 'validation'} example${examples === 1 ? '' : 's'}`;
  const sample = examples > EVALUATED_BEFORE_END ? ` (${EVALUATED_BEFORE_END} before the end)` : '';
  return `${examples.toLocaleString('en')} ${noun}${sample}`;
}

/** Evaluation of a task that assigns one label to each input. */
export interface LabelEvaluation {
  readonly step: number;
  /** Fraction of the validation examples with the correct label. */
  readonly accuracy: number;
  /** Accuracy of a baseline that ignores the input. */
  readonly chance: number;
  /** Description of the baseline. */
  readonly guess: string;
}

/**
 * Returns the accuracy of an evaluation and of its baseline; null for tasks without an accuracy.
 * @param labels number of labels, for evaluations without the frequency of each label
 */
export function labelEvaluation(
  found: Readonly<{ step: number; [name: string]: number | null | undefined }>,
  labels: number | null = null,
): LabelEvaluation | null {
  const { step, accuracy, majority_accuracy: majority } = found;
  if (typeof accuracy !== 'number') return null;
  if (typeof majority === 'number')
    return { step, accuracy, chance: majority, guess: 'always predicting the most frequent label' };
  if (labels === null) return null;
  return { step, accuracy, chance: 1 / labels, guess: `guessing among ${labels} labels` };
}

/** Whether the model is more accurate than the baseline. */
export const beatsChance = ({ accuracy, chance }: LabelEvaluation): boolean => accuracy > chance;

const percent = (share: number): string => `${Math.round(100 * share)} %`;

/** Returns "accuracy 91 % (always predicting the most frequent label: 17 %)". */
export function accuracyText(found: LabelEvaluation): string {
  const verdict = beatsChance(found) ? '' : ', no better than chance';
  return `accuracy ${percent(found.accuracy)}${verdict} (${found.guess}: ${percent(found.chance)})`;
}
