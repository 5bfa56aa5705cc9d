// State of the sweep form, and its conversion to the request body.
import type { Catalog, CatalogMethod, CatalogTask, SweepSearch } from '@graft/contracts';
import { sweepValuesOf } from '@graft/contracts/sweep-values';
import { collect, fieldsOf, type Field } from '../../forms/schema-fields.js';
import { configurations, type Configuration } from '../method-list.js';

export interface SweepDraft {
  readonly algorithm: SweepSearch['algorithm'];
  readonly max_trials: string;
  /** Methods by peft_type, or by the name of a LoRA variant. If empty, the form's method is used. */
  readonly methods: readonly string[];
  /** Values as typed, by the path of their field. */
  readonly values: Readonly<Record<string, string>>;
}

export const NO_SWEEP: SweepDraft = { algorithm: 'asha', max_trials: '', methods: [], values: {} };

export interface Varied {
  readonly path: string;
  readonly field: Field;
}

const NUMBERS: readonly Field[] = ['n_epochs', 'batch_size'].map((name) => ({
  name,
  kind: 'integer',
  choices: [],
  help: '',
  fallback: undefined,
  nullable: false,
  sameInSweep: false,
  limits: {},
}));

/** Returns the fields that trials can vary, including those of the method if there is only one. */
export function variedFields(
  catalog: Catalog,
  { method, task }: { readonly method: CatalogMethod; readonly task: CatalogTask },
  { methods }: SweepDraft,
): readonly Varied[] {
  const within = (prefix: string, fields: readonly Field[]): Varied[] =>
    fields.map((field) => ({ path: `${prefix}.${field.name}`, field }));
  const options = fieldsOf(catalog.graft_schema).filter(({ sameInSweep }) => !sameInSweep);
  return [
    ...(methods.length > 0 ? [] : within('peft', fieldsOf(method.schema))),
    ...within('graft', options),
    ...within(`method.${task.method}.hyperparameters`, NUMBERS),
  ];
}

/** Returns the configurations to choose from: those that differ by the adapter alone. */
export const triedMethods = (methods: readonly CatalogMethod[]): readonly Configuration[] =>
  configurations(methods).filter(
    ({ method, quantization }) => method.peft_type !== 'FULL' && quantization === '',
  );

function adapterOf(name: string, methods: readonly CatalogMethod[]): object {
  const found = triedMethods(methods).find((one) => one.name === name);
  if (!found) return { peft_type: name };
  const fields = collect(fieldsOf(found.method.schema), found.peft);
  return { peft_type: found.method.peft_type, ...fields };
}

/** Returns an example of values for a field. */
export function valuesHint({ kind, choices }: Field): string {
  if (kind === 'flag') return 'true, false';
  if (kind === 'choice') return choices.slice(0, 3).join(', ');
  if (kind === 'integer') return '8, 16, 64 or 8..64:integer';
  return kind === 'number' ? '0.1, 0.2 or 1e-5..1e-3:log' : 'values, separated by commas';
}

/** Builds the request body: that of the job, without the fields that trials vary. */
export function sweepOf(
  job: Readonly<Record<string, unknown>>,
  { algorithm, max_trials: most, methods, values }: SweepDraft,
  known: readonly CatalogMethod[],
): object {
  const { peft, graft, ...rest } = job;
  // Each method has its own default learning rate.
  const { learning_rate: _, ...withoutRate } = (graft ?? {}) as Record<string, unknown>;
  const typed = Object.entries(values).filter(([, text]) => text.trim() !== '');
  const parameters = {
    ...(methods.length > 0 && { peft: methods.map((name) => adapterOf(name, known)) }),
    ...Object.fromEntries(typed.map(([path, text]) => [path, sweepValuesOf(text)])),
  };
  return {
    ...rest,
    ...(methods.length === 0 && { peft }),
    graft: methods.length > 0 ? withoutRate : graft,
    search: { algorithm, parameters, ...(most && { max_trials: Number(most) }) },
  };
}

/** Builds a sweep of several methods on the same data, each with its own default options and learning rate. */
export function methodsOf({ peft: _, graft, ...job }: Readonly<Record<string, unknown>>): object {
  const {
    learning_rate: __,
    quantization: ___,
    ...options
  } = (graft ?? {}) as Readonly<Record<string, unknown>>;
  return { ...job, graft: options, search: { algorithm: 'asha', preset: 'methods' } };
}
