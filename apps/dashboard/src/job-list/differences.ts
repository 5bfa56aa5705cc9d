// Settings in which compared jobs differ, resolved and with the names that users know.
import type { JobObject } from '@graft/contracts';
import { comparedOptions, type ComparedOption } from '@graft/contracts/compared-jobs';
import { fieldsOfTitle } from '@graft/contracts/job-method';
import { methodName } from '../format.js';

export interface Difference {
  readonly label: string;
  /** Path in a request, such as "peft.r". Null for the method as a whole. */
  readonly path: string | null;
  /** Values of the jobs as texts. Null if a job's method has no such setting. */
  readonly values: readonly (string | null)[];
}

const LABELS: Readonly<Record<string, string>> = {
  model: 'Base',
  training_file: 'Training file',
  validation_file: 'Validation file',
  seed: 'Seed',
  'peft.r': 'Rank',
  'peft.lora_alpha': 'Alpha',
  'peft.lora_dropout': 'Dropout',
  'peft.target_modules': 'Layers',
  'graft.max_seq_len': 'Maximum length',
  'graft.base_dtype': 'Precision of the base',
};

/** Returns a setting's name: "Rank" for "peft.r", "Learning rate" for "graft.learning_rate". */
export function settingLabel(path: string): string {
  const words = path
    .slice(path.lastIndexOf('.') + 1)
    .replace(/^n_/, '')
    .replaceAll('_', ' ');
  return LABELS[path] ?? `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
}

const written = (value: unknown): string | null => {
  if (value === undefined) return null;
  if (value === null) return 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
};

const asDifference = ({ name, values }: ComparedOption): Difference => ({
  label: settingLabel(name),
  path: name,
  values: values.map(written),
});

/** Whether at least two jobs have a setting, with different values. A setting that a method lacks is no difference. */
function isDifference({ values }: ComparedOption): boolean {
  const texts = values.filter((value) => value !== undefined).map((value) => JSON.stringify(value));
  return new Set(texts).size > 1;
}

/**
 * Returns the settings in which jobs differ: the method first. Settings that the name of the method
 * implies, such as `use_dora`, are not repeated.
 * @param options names of the options that a request may set under `graft`
 * @param isWhole whether to return identical settings, too
 */
export function differencesOf(
  jobs: readonly JobObject[],
  options: readonly string[],
  isWhole = false,
): readonly Difference[] {
  const methods = jobs.map((job) => methodName(job));
  const implied = new Set(
    jobs.flatMap(({ peft }) => (peft ? fieldsOfTitle(peft) : [])).map((name) => `peft.${name}`),
  );
  const others = comparedOptions(jobs, options)
    .filter((option) => isWhole || (isDifference(option) && !implied.has(option.name)))
    .map(asDifference);
  const method: Difference = { label: 'Method', path: null, values: methods };
  return isWhole || new Set(methods).size > 1 ? [method, ...others] : others;
}
