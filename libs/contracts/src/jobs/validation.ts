// The default validation split, how many examples a job is validated on, and the accuracy of a classifier beside that of
// chance. No zod: the dashboard bundles this.
import type { JobObject } from './job-objects.js';

/** The share of the training file that is held out by default. */
export const HELD_OUT = 0.1;

/** Draws the records that are held out, unless the job says otherwise. */
export const SPLIT_SEED = 42;

/** The default holds for training files of at least so many records. */
export const HELD_OUT_FROM = 50;

/** Evaluations before the end of a run are of at most so many of the validation examples: the first. */
export const EVALUATED_BEFORE_END = 64;

/** "25 held-out examples", or "1,200 validation examples (64 of them before the end)"; null where nobody knows. */
export function validationExamples({
  validation_file: file,
  graft: { data },
}: Pick<JobObject, 'validation_file' | 'graft'>): string | null {
  const examples = data?.validation_examples;
  if (examples === undefined) return null;
  const noun = `${file === null ? 'held-out' : 'validation'} example${examples === 1 ? '' : 's'}`;
  const sample =
    examples > EVALUATED_BEFORE_END ? ` (${EVALUATED_BEFORE_END} of them before the end)` : '';
  return `${examples.toLocaleString('en')} ${noun}${sample}`;
}

/** An evaluation of a task that gives each input one label. */
export interface LabelEvaluation {
  readonly step: number;
  /** The share of the validation examples that got their label. */
  readonly accuracy: number;
  /** The accuracy of a baseline that knows nothing. */
  readonly chance: number;
  /** What the baseline does, in words. */
  readonly guess: string;
}

/**
 * The accuracy of an evaluation and of its baseline; null where the task has none.
 * @param labels their number, for evaluations without the frequency of each label
 */
export function labelEvaluation(
  found: Readonly<{ step: number; [name: string]: number | null | undefined }>,
  labels: number | null = null,
): LabelEvaluation | null {
  const { step, accuracy, majority_accuracy: majority } = found;
  if (typeof accuracy !== 'number') return null;
  if (typeof majority === 'number')
    return { step, accuracy, chance: majority, guess: 'always answering the most frequent label' };
  if (labels === null) return null;
  return { step, accuracy, chance: 1 / labels, guess: `guessing among ${labels} labels` };
}

/** Whether the model is more accurate than the baseline. */
export const beatsChance = ({ accuracy, chance }: LabelEvaluation): boolean => accuracy > chance;

const percent = (share: number): string => `${Math.round(100 * share)} %`;

/** "accuracy 91 % (always answering the most frequent label: 17 %)" */
export function accuracyText(found: LabelEvaluation): string {
  const verdict = beatsChance(found) ? '' : ', no better than chance';
  return `accuracy ${percent(found.accuracy)}${verdict} (${found.guess}: ${percent(found.chance)})`;
}
