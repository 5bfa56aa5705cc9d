// Which jobs a sweep of the new-job form makes: what was typed, and the body of the create call.
import type { Catalog, CatalogMethod, CatalogTask, SweepSearch } from '@graft/contracts';
import { sweepValuesOf } from '@graft/contracts/sweep-values';
import { fieldsOf, type Field } from './schema-form.js';

export interface SweepDraft {
  readonly algorithm: SweepSearch['algorithm'];
  readonly max_trials: string;
  /** By peft_type; none: that of the form. */
  readonly methods: readonly string[];
  /** Values as typed, by the path of their field. */
  readonly values: Readonly<Record<string, string>>;
}

export const NO_SWEEP: SweepDraft = { algorithm: 'asha', max_trials: '', methods: [], values: {} };

export interface Varied {
  readonly path: string;
  readonly field: Field;
}

/** What trials are compared by, what decides where they run, and what is for people: the same for all. */
const COMMON = [
  'task',
  'task_options',
  'eval',
  'metric_for_best_model',
  'validation_split',
  'max_seq_len',
  'gradient_checkpointing',
  'init_adapter',
  'pool',
  'priority',
  'sample_prompts',
  'sample_max_tokens',
  'loss_ledger',
  'loss_ledger_epochs',
  'measure_forgetting',
];

const NUMBERS: readonly Field[] = ['n_epochs', 'batch_size'].map((name) => ({
  name,
  kind: 'integer',
  choices: [],
  help: '',
  fallback: undefined,
  nullable: false,
}));

/** The fields in which trials may differ, of the chosen method where that is one. */
export function variedFields(
  catalog: Catalog,
  { method, task }: { readonly method: CatalogMethod; readonly task: CatalogTask },
  { methods }: SweepDraft,
): readonly Varied[] {
  const within = (prefix: string, fields: readonly Field[]): Varied[] =>
    fields.map((field) => ({ path: `${prefix}.${field.name}`, field }));
  const options = fieldsOf(catalog.graft_schema).filter(({ name }) => !COMMON.includes(name));
  return [
    ...(methods.length > 0 ? [] : within('peft', fieldsOf(method.schema))),
    ...within('graft', options),
    ...within(`method.${task.method}.hyperparameters`, NUMBERS),
  ];
}

/** What may be typed for a field. */
export function valuesHint({ kind, choices }: Field): string {
  if (kind === 'flag') return 'true, false';
  if (kind === 'choice') return choices.slice(0, 3).join(', ');
  if (kind === 'integer') return '8, 16, 64 or 8..64:integer';
  return kind === 'number' ? '0.1, 0.2 or 1e-5..1e-3:log' : 'values, separated by commas';
}

/** The body of the create call: a job's, in which what trials differ in is left to them. */
export function sweepOf(
  job: Readonly<Record<string, unknown>>,
  { algorithm, max_trials: most, methods, values }: SweepDraft,
): object {
  const { peft, graft, ...rest } = job;
  // Each method has a rate of its own.
  const { learning_rate: _, ...withoutRate } = (graft ?? {}) as Record<string, unknown>;
  const typed = Object.entries(values).filter(([, text]) => text.trim() !== '');
  const parameters = {
    ...(methods.length > 0 && { peft: methods.map((peft_type) => ({ peft_type })) }),
    ...Object.fromEntries(typed.map(([path, text]) => [path, sweepValuesOf(text)])),
  };
  return {
    ...rest,
    ...(methods.length === 0 && { peft }),
    graft: methods.length > 0 ? withoutRate : graft,
    search: { algorithm, parameters, ...(most && { max_trials: Number(most) }) },
  };
}
