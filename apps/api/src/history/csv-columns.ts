// Columns of a job's metrics.csv after its step.
import { metricsOf } from '../catalog/plugins.js';

export interface CsvColumn {
  readonly title: string;
  readonly of: 'train' | 'valid';
  readonly name: string;
}

const MEAN_TOKEN_ACCURACY = 'mean_token_accuracy';

/** Of OpenAI's contract: always there and first, whatever was measured. */
const firstOf = (accuracyOfTokens: string): readonly CsvColumn[] => [
  { title: 'train_loss', of: 'train', name: 'loss' },
  { title: 'train_accuracy', of: 'train', name: 'accuracy' },
  { title: 'valid_loss', of: 'valid', name: 'loss' },
  { title: `valid_${MEAN_TOKEN_ACCURACY}`, of: 'valid', name: accuracyOfTokens },
];

/**
 * OpenAI's columns, then what else a job has: in the order of its task's catalogue entry, names that it lacks at the
 * end. `train_` and `valid_` go before what both may have; what only a run has stands by its own name.
 */
export function csvColumns(
  task: string,
  names: { readonly train: readonly string[]; readonly valid: readonly string[] },
): CsvColumn[] {
  const { step, validation } = metricsOf(task);
  // Where a task has none, that column is blank.
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
