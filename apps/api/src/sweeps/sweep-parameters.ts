// Fields in which trials differ, and fields that they share.
import {
  CreateJob,
  DomainError,
  EVAL_SCORE,
  fieldPaths,
  HELD_OUT,
  wayOut,
  type SweepMetric,
  type SweepSearch,
} from '@graft/contracts';
import { DEFAULT_PEFT, peftFields, triedMethods } from '../catalog/plugins.js';
import { withOptions, type FieldValues } from './search-space.js';

/** Fields in which trials cannot differ: trials are compared by them, or share them. */
const COMMON = [
  'model',
  'training_file',
  'validation_file',
  'method.type',
  'graft.task',
  'graft.eval',
  'graft.validation_split',
  'graft.stratify_by_column',
  'graft.split_seed',
  'integrations',
  'metadata',
];

/** Fields that change the validation loss. The losses of trials that differ in them cannot be compared. */
const LOSS = ['graft.task_options', 'graft.max_seq_len', 'method.dpo.hyperparameters.beta'];

/**
 * Returns the parameters of a search, including those of its preset.
 * @throws DomainError that names a field in which trials cannot differ
 */
export function parametersOf(
  { preset, parameters = {}, metric = 'valid_loss' }: SweepSearch,
  job: FieldValues,
): NonNullable<SweepSearch['parameters']> {
  for (const path of Object.keys(parameters)) checkPath(path, metric);
  if (preset === undefined) return parameters;
  for (const [field, value] of [
    ['peft', job['peft']],
    ['search.parameters.peft', parameters['peft']],
  ] as const)
    if (value !== undefined)
      throw new DomainError(
        'invalid_value',
        `${field}: search.preset "methods" sets its values; remove it`,
        field,
      );
  return { peft: triedMethods(), ...parameters };
}

function checkPath(path: string, metric: SweepMetric): void {
  const param = `search.parameters.${path}`;
  const common = COMMON.find((one) => isWithin(one, path));
  if (common !== undefined) {
    const what = common === path ? 'this field' : common;
    throw new DomainError(
      'invalid_value',
      `${param}: trials of a sweep must share ${what}; ${common === path ? 'create a sweep for each value' : 'name the fields within it that differ'}`,
      param,
    );
  }
  if (metric === 'valid_loss' && LOSS.some((one) => isWithin(one, path) || isWithin(path, one)))
    throw new DomainError(
      'invalid_value',
      `${param}: it changes the loss by which trials are compared; use search.metric eval_score`,
      param,
    );
  if (isKnown(path)) return;
  throw new DomainError(
    'unknown_parameter',
    `unknown field ${path} in search.parameters; ${wayOut(path, [...known()])}`,
    param,
  );
}

const isWithin = (path: string, field: string): boolean =>
  path === field || path.startsWith(`${field}.`);

const isKnown = (path: string): boolean =>
  known().has(path) || path.startsWith('graft.task_options.');

let paths: ReadonlySet<string> | undefined;
const known = (): ReadonlySet<string> =>
  (paths ??= new Set([...fieldPaths(CreateJob), ...peftFields()]));

/** Returns the request that all trials share, with the fields that are needed to compare them. */
export const jobOf = (
  job: FieldValues,
  metric: SweepMetric,
  parameters: FieldValues,
): FieldValues => measured(withStoredOptions(withMethod(job, parameters)), metric, parameters);

/** Sets the default method if fields of a method are searched but no method is named. */
function withMethod(job: FieldValues, parameters: FieldValues): FieldValues {
  const paths = Object.keys(parameters);
  const isNamed = job['peft'] !== undefined || paths.some((path) => METHOD.includes(path));
  return isNamed || !paths.some((path) => path.startsWith('peft.'))
    ? job
    : { ...job, peft: DEFAULT_PEFT };
}

/** Measures forgetting in each trial, unless the request sets graft.measure_forgetting. */
const withStoredOptions = (job: FieldValues): FieldValues =>
  (job['graft'] as FieldValues | null | undefined)?.['measure_forgetting'] === undefined
    ? withOptions(job, { 'graft.measure_forgetting': true })
    : job;

const METHOD = ['peft', 'peft.peft_type'];

/** Ensures that the trials can be measured: by graft.eval, a validation file or a validation split. */
function measured(job: FieldValues, metric: SweepMetric, parameters: FieldValues): FieldValues {
  const graft = (job['graft'] ?? {}) as FieldValues;
  if (metric === EVAL_SCORE) {
    if (graft['eval'] !== undefined) return job;
    throw new DomainError(
      'missing_required_parameter',
      'graft.eval is required if search.metric is eval_score',
      'graft.eval',
    );
  }
  if (job['validation_file']) return job;
  if (parameters['seed'] !== undefined && graft['split_seed'] === null)
    throw new DomainError(
      'invalid_value',
      'search.parameters.seed: graft.split_seed is null, so each seed would hold out different records, but trials must be compared on the same ones; remove graft.split_seed',
      'search.parameters.seed',
    );
  return typeof graft['validation_split'] === 'number'
    ? job
    : withOptions(job, { 'graft.validation_split': HELD_OUT });
}
