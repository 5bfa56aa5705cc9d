// Columns of a job's metrics.csv after `step`.
import { metricsOf } from '../catalog/plugins.js';

export interface CsvColumn {
  readonly title: string;
  readonly of: 'train' | 'valid';
  readonly name: string;
}

const MEAN_TOKEN_ACCURACY = 'mean_token_accuracy';

/** Columns of OpenAI's format. They come first and are always present. */
const firstOf = (accuracyOfTokens: string): readonly CsvColumn[] => [
  { title: 'train_loss', of: 'train', name: 'loss' },
  { title: 'train_accuracy', of: 'train', name: 'accuracy' },
  { title: 'valid_loss', of: 'valid', name: 'loss' },
  { title: `valid_${MEAN_TOKEN_ACCURACY}`, of: 'valid', name: accuracyOfTokens },
];

/**
 * OpenAI's columns, followed by the other metrics of the job in the order of the task's catalog entry.
 * Metrics that are not in the catalog come last. Names get the prefix `train_` or `valid_` if both training
 * and validation can have the metric; metrics of training only have no prefix.
 */
export function csvColumns(
  task: string,
  names: { readonly train: readonly string[]; readonly valid: readonly string[] },
): CsvColumn[] {
  const { step, validation } = metricsOf(task);
  // The column stays empty if the task has no such metric.
  const ofTokens = validation.find(({ openai_name: theirs }) => theirs === MEAN_TOKEN_ACCURACY);
  const first = firstOf(ofTokens?.name ?? MEAN_TOKEN_ACCURACY);
  const known = step.map(({ name }) => name);
  const place = (name: string): number => known.indexOf(name) + 1 || known.length + 1;
  const ofRun = new Set(known.filter((name) => !validation.some((one) => one.name === name)));
  const rest = (of: CsvColumn['of']): CsvColumn[] =>
    [...new Set(names[of])]
      .filter((name) => !first.some((one) => one.of === of && one.name === name))
      .sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1))
      .map((name) => ({ title: ofRun.has(name) ? name : `${of}_${name}`, of, name }));
  return [...first, ...rest('train'), ...rest('valid')];
}
