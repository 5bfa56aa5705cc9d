// State of the new-job form as typed, with conversions from a job and to the request body.
import type {
  Catalog,
  CatalogMethod,
  CatalogTask,
  FileObject,
  JobObject,
  ModelObject,
} from '@graft/contracts';
import {
  integrationRequests,
  BY_DATA,
  type IntegrationRequest,
} from '@graft/contracts/compared-jobs';
import { asksChats, linesOf, promptsOf } from './prompt-lines.js';
import { collect, fieldsOf, NONE } from '../forms/schema-fields.js';
import { NO_SWEEP, type SweepDraft } from './sweep/sweep-draft.js';

type Values = Readonly<Record<string, string>>;

export interface Draft {
  readonly model: string;
  readonly training_file: string;
  readonly validation_file: string;
  readonly suffix: string;
  readonly seed: string;
  readonly n_epochs: string;
  readonly batch_size: string;
  /** '' selects the first task that fits the training file. */
  readonly task: string;
  readonly task_options: Values;
  /** '' selects the first method of the catalog. */
  readonly method: string;
  readonly peft: Values;
  readonly graft: Values;
  /** Null selects the trackers that log every job. */
  readonly integrations: readonly IntegrationRequest[] | null;
  /** Parameters of a sweep. */
  readonly sweep: SweepDraft;
}

export const BLANK: Draft = {
  model: '',
  training_file: '',
  validation_file: '',
  suffix: '',
  seed: '',
  n_epochs: '',
  batch_size: '',
  task: '',
  task_options: {},
  method: '',
  peft: {},
  graft: {},
  integrations: null,
  sweep: NO_SWEEP,
};

const typed = (values: Readonly<Record<string, unknown>>): Values =>
  Object.fromEntries(
    Object.entries(values)
      .filter(([, v]) => v !== null && v !== undefined)
      .map(([k, v]) => [k, typeof v === 'string' ? v : JSON.stringify(v)]),
  );

/** Returns options that are null in a job although their default is not null. */
const nothingOf = (graft: Readonly<Record<string, unknown>>): Values =>
  Object.fromEntries(BY_DATA.filter((name) => graft[name] === null).map((name) => [name, NONE]));

/**
 * Returns the form's state for a copy of a job. Only options that the catalog knows are copied.
 * @param file the training file, if it still exists
 */
export function draftOf(job: JobObject, catalog: Catalog, file: FileObject | undefined): Draft {
  const known = fieldsOf(catalog.graft_schema).map((field) => field.name);
  const graft = Object.fromEntries(
    Object.entries(job.graft).filter(([name]) => known.includes(name)),
  );
  const { task, task_options: options, sample_prompts: _, ...rest } = graft;
  const prompts = job.graft.sample_prompts ?? [];
  const { peft_type: type, ...peft } = job.peft ?? { peft_type: 'FULL' };
  const numbers = job.method[job.method.type]?.hyperparameters;
  const shown = (v: number | 'auto' = 'auto') => (v === 'auto' ? '' : String(v));
  return {
    model: job.model,
    training_file: job.training_file ?? '',
    validation_file: job.validation_file ?? '',
    suffix: job.user_provided_suffix ?? '',
    seed: String(job.seed),
    n_epochs: shown(numbers?.n_epochs),
    batch_size: shown(numbers?.batch_size),
    method: String(type),
    task: String(task ?? ''),
    task_options: typed((options ?? {}) as Record<string, unknown>),
    peft: typed(peft),
    graft: {
      ...typed(rest),
      ...nothingOf(rest),
      sample_prompts: linesOf(prompts, asksChats(file)),
    },
    integrations: integrationRequests(job),
    sweep: NO_SWEEP,
  };
}

/** Training file and base model that a task must fit. */
export interface TaskSubject {
  readonly file: FileObject | undefined;
  readonly base: ModelObject | undefined;
}

const STACK_NAMES = {
  decoder: 'a decoder',
  encoder: 'an encoder',
  encoder_decoder: 'an encoder–decoder',
} as const;

const INPUT_NAMES = { tokens: 'text', image: 'images', audio: 'audio' } as const;

/** Reason why a task does not fit. */
export interface Misfit {
  readonly of: keyof TaskSubject;
  readonly reason: string;
}

export function misfitOf(
  task: CatalogTask,
  { file, base }: TaskSubject,
  { families }: Catalog,
): Misfit | null {
  const family = families.find(({ name }) => name === base?.graft?.family);
  if (family && task.inputs !== family.inputs)
    return {
      of: 'base',
      reason: `learns from ${INPUT_NAMES[task.inputs]}, but this base reads ${INPUT_NAMES[family.inputs]}`,
    };
  if (family && !task.stacks.includes(family.stacks)) {
    const needed = task.stacks.map((kind) => STACK_NAMES[kind]).join(' or ');
    return {
      of: 'base',
      reason: `needs ${needed}, but this base is ${STACK_NAMES[family.stacks]}`,
    };
  }
  const found = file?.graft?.tasks?.find((one) => one.task === task.name);
  if (!found || found.fits) return null;
  return {
    of: 'file',
    reason: found.problem ?? 'the records of this file have a different format',
  };
}

/** Returns the chosen task, or the first one that fits the file and the base model. */
export function taskOf(
  draft: Draft,
  catalog: Catalog,
  subject: TaskSubject,
): CatalogTask | undefined {
  const chosen = catalog.tasks.find(({ name }) => name === draft.task);
  const possible = catalog.tasks.find((task) => misfitOf(task, subject, catalog) === null);
  return chosen ?? possible ?? catalog.tasks[0];
}

/** Returns the default learning rate. */
export const defaultRate = (method: CatalogMethod, task: CatalogTask): number =>
  Number((method.default_learning_rate * task.learning_rate_scale).toPrecision(6));

/** Keeps text that is not a number, so that the server's error names the field. */
const number = (typed: string): number | string =>
  Number.isNaN(Number(typed)) ? typed : Number(typed);

/** Objects that the form's values refer to. */
interface Chosen {
  readonly method: CatalogMethod;
  readonly task: CatalogTask;
  /** The training file. */
  readonly file: FileObject | undefined;
}

/** Builds the request body. Empty fields are omitted, so that the server's defaults apply. */
export function bodyOf(
  draft: Draft,
  { method, task, file }: Chosen,
  catalog: Catalog,
): Record<string, unknown> {
  const hyperparameters = {
    ...(draft.n_epochs && { n_epochs: number(draft.n_epochs) }),
    ...(draft.batch_size && { batch_size: number(draft.batch_size) }),
  };
  // This is the server's default for every base model.
  const isUsual = task.stacks.every((stack) => {
    const first = catalog.tasks.find(
      (one) => one.method === task.method && one.stacks.includes(stack),
    );
    return first === task;
  });
  const options = collect(fieldsOf(task.schema), draft.task_options);
  const { sample_prompts: prompts = '', ...graft } = draft.graft;
  // The form has this field only for tasks that generate text.
  const sample_prompts = task.use === 'chat' ? promptsOf(prompts, asksChats(file)) : '';
  const peft = { peft_type: method.peft_type, ...collect(fieldsOf(method.schema), draft.peft) };
  const trainingOptions = collect(fieldsOf(catalog.graft_schema), { ...graft, sample_prompts });
  // Tasks with labels are stratified by default; other tasks reject the option.
  if (trainingOptions['stratify_by_column'] === 'label')
    delete trainingOptions['stratify_by_column'];
  return {
    model: draft.model,
    training_file: draft.training_file,
    ...(draft.validation_file && { validation_file: draft.validation_file }),
    ...(draft.suffix && { suffix: draft.suffix }),
    ...(draft.seed && { seed: number(draft.seed) }),
    ...(draft.integrations && { integrations: draft.integrations }),
    method: { type: task.method, [task.method]: { hyperparameters } },
    peft: method.peft_type === 'FULL' ? null : peft,
    graft: {
      ...(!isUsual && { task: task.name }),
      ...(Object.keys(options).length > 0 && { task_options: options }),
      ...trainingOptions,
    },
  };
}
