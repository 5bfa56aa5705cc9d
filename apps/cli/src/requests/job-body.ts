import { methodCalled } from '@graft/contracts/job-method';
import { valueOf } from '@graft/contracts/sweep-values';
import { HELD_OUT, HELD_OUT_FROM } from '@graft/contracts/validation';
import { Option, type Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { readBody, type Body } from './read-body.js';
import { MAP_HELP, mapped, type Mapping } from '../client/upload.js';

/** Flags that describe a job. */
export interface JobFlags {
  readonly model?: string;
  readonly train?: string;
  readonly valid?: string;
  /** Fraction to hold out for validation. False if nothing is held out. */
  readonly validationSplit?: string | false;
  readonly method?: string;
  readonly task?: string;
  readonly taskOption?: readonly string[];
  readonly suffix?: string;
  readonly seed?: string;
  readonly epochs?: string;
  readonly batchSize?: string;
  readonly wandb?: string;
  readonly mlflow?: string;
  readonly set?: readonly string[];
  readonly map?: Mapping;
}

export const withJobFlags = (command: Command): Command =>
  command
    .option(
      '-m, --model <model>',
      'base model (see graft models), or a job or model to continue from',
    )
    .option(
      '-t, --train <file>',
      'training data: a local file or folder to upload (see graft help data), or a file id',
    )
    .option('--valid <file>', 'validation data: a local file to upload, or a file id')
    .option(
      '--validation-split <share>',
      `fraction of the training data to hold out for validation (default: ${HELD_OUT} if it has at least ${HELD_OUT_FROM} records)`,
    )
    .option('--no-validation-split', 'train on all of the training data, without holding out any')
    .addOption(new Option('--map <part=column>', MAP_HELP).argParser(mapped).default({}, 'none'))
    .option(
      '--method <peft_type>',
      'method (see graft help methods), LoRA variant (DoRA, rsLoRA, PiSSA, …) or FULL for full fine-tuning',
    )
    .option(
      '--task <name>',
      'task (see graft help tasks; `graft files show` lists the tasks that fit a file)',
    )
    .option('--task-option <name=value>', 'option of the task (repeatable)', collect)
    .option('--suffix <name>', "suffix of the new model's name")
    .option('--seed <number>', 'random seed of data order, dropout and new weights')
    .option('--epochs <number>', 'number of passes over the data')
    .option('--batch-size <number>', 'examples per step')
    .option('--wandb <project>', 'track the job in this W&B project (see graft integrations)')
    .option(
      '--mlflow <experiment>',
      'track the job in this MLflow experiment (see graft integrations)',
    )
    .option(
      '--set <path=value>',
      'set any other field: peft.r=8, graft.learning_rate=2e-4 (repeatable)',
      collect,
    );

/** Commander's parser of a repeatable option: collects its values. */
export const collect = (value: string, previous: readonly string[] = []): string[] => [
  ...previous,
  value,
];

/**
 * Body of a create request: the file's fields, overridden by the flags, overridden by --set.
 * @param of name of the request, for error messages
 */
export const bodyOf = (file: string | undefined, options: JobFlags, of: string): Body =>
  overBody(file === undefined ? {} : readBody(file, of), options);

/** Body with its fields overridden by the flags, and those by --set. */
export function overBody(body: Body, options: JobFlags): Body {
  const assign = (path: string, value: unknown): void => {
    if (value !== undefined) assignPath(body, path, value);
  };
  assign('model', options.model);
  assign('training_file', options.train);
  assign('validation_file', options.valid);
  assign('suffix', options.suffix);
  assign('seed', integer('--seed', options.seed));
  assign('graft.task', options.task);
  const { validationSplit: split } = options;
  assign('graft.validation_split', split === false ? null : number('--validation-split', split));
  const settings = (options.set ?? []).map(setting);
  const numbers = hyperparametersPath(body, settings);
  assign(`${numbers}.n_epochs`, integer('--epochs', options.epochs));
  assign(`${numbers}.batch_size`, integer('--batch-size', options.batchSize));
  if (options.method !== undefined) body.peft = peftOf(options.method, body.peft);
  for (const one of options.taskOption ?? []) {
    const at = one.indexOf('=');
    if (at < 1)
      throw new CliError(
        `--task-option ${one}: expected name=value, e.g. --task-option beta=0.1`,
        EXIT.usage,
      );
    assign(`graft.task_options.${one.slice(0, at)}`, valueOf(one.slice(at + 1)));
  }
  const trackers = integrationsOf(options);
  if (trackers.length > 0) body.integrations = trackers;
  for (const [path, value] of settings) assign(path, value);
  if (typeof body.peft === 'object' && body.peft !== null) (body.peft as Body).peft_type ??= 'LORA';
  if (typeof body.method === 'object' && body.method !== null)
    (body.method as Body).type ??= 'supervised';
  for (const [field, flag] of [
    ['model', '--model'],
    ['training_file', '--train'],
  ] as const) {
    if (body[field] === undefined)
      throw new CliError(`${flag} is required (or "${field}" in the request file)`, EXIT.usage);
  }
  return body;
}

const integrationsOf = ({ wandb, mlflow }: JobFlags): object[] => [
  ...(wandb === undefined ? [] : [{ type: 'wandb', wandb: { project: wandb } }]),
  ...(mlflow === undefined ? [] : [{ type: 'mlflow', mlflow: { experiment: mlflow } }]),
];

function setting(one: string): readonly [path: string, value: unknown] {
  const at = one.indexOf('=');
  if (at < 1)
    throw new CliError(`--set ${one}: expected path=value, e.g. --set peft.r=8`, EXIT.usage);
  return [one.slice(0, at), valueOf(one.slice(at + 1))];
}

/** Path of the hyperparameters: those of OpenAI's `method` if it has its own, which take precedence; otherwise the top-level field. */
function hyperparametersPath(
  body: Body,
  settings: readonly (readonly [path: string, value: unknown])[],
): string {
  const changed = structuredClone(body);
  for (const [path, value] of settings) assignPath(changed, path, value);
  const method = changed.method as Body | null | undefined;
  const type = typeof method?.type === 'string' ? method.type : 'supervised';
  const own = (method?.[type] as Body | null | undefined)?.hyperparameters;
  return own ? `method.${type}.hyperparameters` : 'hyperparameters';
}

function peftOf(method: string, given: unknown): Body | null {
  const name = method.toUpperCase().replaceAll('-', '_');
  if (name === 'FULL') return null;
  const fields = given as Body | null | undefined;
  const { variant = null, isPacked = false } = methodCalled(method) ?? {};
  // A quantized base or a configuration needs more than a name. The API's error says what.
  if (variant?.value === undefined || isPacked) return { ...fields, peft_type: name };
  return { ...fields, peft_type: 'LORA', [variant.field]: variant.value };
}

function assignPath(body: Body, path: string, value: unknown): void {
  const names = path.split('.');
  const last = names.pop();
  if (
    last === undefined ||
    names.concat(last).some((name) => name === '' || name === '__proto__')
  ) {
    throw new CliError(`"${path}" is not a valid field path`, EXIT.usage);
  }
  let at = body;
  for (const name of names) {
    const next = at[name];
    if (typeof next === 'object' && next !== null) at = next as Body;
    else at = at[name] = {} as Body;
  }
  at[last] = value;
}

function number(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value))
    throw new CliError(`${flag}: expected a number, got "${text}"`, EXIT.usage);
  return value;
}

function integer(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text))
    throw new CliError(`${flag}: expected an integer ≥ 0, got "${text}"`, EXIT.usage);
  return Number(text);
}
