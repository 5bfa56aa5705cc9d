import { existsSync, readFileSync } from 'node:fs';
import type { JobObject, JobPreviewObject } from '@graft/contracts';
import type { Command } from 'commander';
import { ApiError, type Api } from '../api.js';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line.js';
import { problemsOf } from '../file-card.js';
import { lineOf, planCard } from '../plan-card.js';
import { printable, type Output } from '../terminal.js';
import { MAP_HELP, mapped, uploaded as uploadedFile, type Mapping } from '../upload.js';
import { watchToEnd } from './watch.js';

interface Options {
  readonly model?: string;
  readonly train?: string;
  readonly valid?: string;
  readonly method?: string;
  readonly suffix?: string;
  readonly seed?: string;
  readonly epochs?: string;
  readonly batchSize?: string;
  readonly set?: readonly string[];
  readonly map?: Mapping;
  readonly watch?: boolean;
  readonly dryRun?: boolean;
}

type Body = Record<string, unknown>;

export function addSubmit(program: Command): void {
  program
    .command('submit')
    .description('queue a fine-tuning job; a body file gives what the flags do not')
    .argument('[body]', 'JSON file with the body of POST /v1/fine_tuning/jobs')
    .option('-m, --model <id>', 'base model, as `graft models` lists it')
    .option(
      '-t, --train <file>',
      'training data: a file here (JSON Lines, JSON, CSV or Parquet; it is uploaded) or a file id',
    )
    .option('--valid <file>', 'validation data, likewise')
    .option('--map <part=column>', MAP_HELP, mapped, {})
    .option('--method <peft_type>', 'LORA, PROMPT_TUNING, PREFIX_TUNING, P_TUNING, or FULL')
    .option('--suffix <name>', "part of the new model's name")
    .option('--seed <number>', 'seed of data order, dropout and new weights')
    .option('--epochs <number>', 'passes over the data')
    .option('--batch-size <number>', 'examples a step')
    .option(
      '--set <path=value>',
      'any other field: peft.r=8, graft.learning_rate=2e-4 (repeatable)',
      collect,
    )
    .option('-w, --watch', 'stay and show progress')
    .option(
      '--dry-run',
      'only show what the job would be: steps, time, what is cut; creates nothing',
    )
    .action(async (bodyFile: string | undefined, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const body = bodyOf(bodyFile, options);
      if (options.dryRun === true) return dryRun(api(), body, out, options.map);
      const job = await submit(api(), body, out, options.map);
      if (options.watch === true) return watchToEnd(api(), job.id, out);
      if (out.json) return out.value(job);
      out.line(`${job.id} ${job.status}: ${job.graft.phase.message}`);
      out.note(`graft watch ${job.id} shows its progress`);
    });
}

const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value];

/** Uploads what is a path here, says what the job will be, and creates it. */
export function submit(
  api: Api,
  body: Body,
  out: Output,
  columns: Mapping = {},
): Promise<JobObject> {
  return withFiles(api, { body, columns }, out, async ({ sent }) => {
    if (!out.json) await announce(api, sent, out);
    return api.post<JobObject>('/fine_tuning/jobs', sent);
  });
}

/** Shows what the job would be; the files that it had to upload go again. */
async function dryRun(api: Api, body: Body, out: Output, columns: Mapping = {}): Promise<void> {
  await withFiles(api, { body, columns }, out, async ({ sent, uploaded }) => {
    const preview = await api.post<JobPreviewObject>(PREVIEW, sent);
    await remove(api, uploaded);
    if (out.json) out.value(preview);
    else out.line(planCard(preview));
  });
}

const PREVIEW = '/fine_tuning/jobs/preview';

/** What the job will be, in a line, and what its owner should know; a server that cannot say is no reason to stop. */
async function announce(api: Api, sent: Body, out: Output): Promise<void> {
  try {
    const preview = await api.post<JobPreviewObject>(PREVIEW, sent);
    out.note(lineOf(preview));
    for (const warning of preview.warnings) out.note(`warning: ${printable(warning)}`);
  } catch (error) {
    const silent = error instanceof ApiError && (error.status >= 500 || error.code === 'not_found');
    if (!silent) throw error;
  }
}

interface Sent {
  readonly sent: Body;
  /** Ids of files that were uploaded for it. */
  readonly uploaded: readonly string[];
}

/** Uploads what is a path here; what was uploaded for something that is then refused is deleted again. */
async function withFiles<T>(
  api: Api,
  { body, columns }: { body: Body; columns: Mapping },
  out: Output,
  use: (files: Sent) => Promise<T>,
): Promise<T> {
  const sent = { ...body };
  const uploaded: string[] = [];
  try {
    for (const field of ['training_file', 'validation_file']) {
      const value = sent[field];
      if (typeof value !== 'string' || (/^file-/.test(value) && !existsSync(value))) continue;
      const file = await uploadedFile(api, value, columns);
      uploaded.push(file.id);
      if (file.status === 'error') throw new CliError(problemsOf(file));
      if (!out.json) out.note(`uploaded ${value} as ${file.id}`);
      for (const warning of file.graft?.warnings ?? []) out.note(printable(warning));
      sent[field] = file.id;
    }
    return await use({ sent, uploaded });
  } catch (error) {
    if (error instanceof CliError && error.exitCode !== EXIT.unreachable)
      await remove(api, uploaded);
    throw error;
  }
}

async function remove(api: Api, files: readonly string[]): Promise<void> {
  for (const id of files) await api.delete(`/files/${id}`).catch(() => undefined);
}

/** The create call's body: the file's fields, over them the flags, over them --set. */
export function bodyOf(file: string | undefined, options: Options): Body {
  const body = file === undefined ? {} : readBody(file);
  const assign = (path: string, value: unknown): void => {
    if (value !== undefined) assignPath(body, path, value);
  };
  assign('model', options.model);
  assign('training_file', options.train);
  assign('validation_file', options.valid);
  assign('suffix', options.suffix);
  assign('seed', integer('--seed', options.seed));
  assign('method.supervised.hyperparameters.n_epochs', integer('--epochs', options.epochs));
  assign(
    'method.supervised.hyperparameters.batch_size',
    integer('--batch-size', options.batchSize),
  );
  if (options.method !== undefined) body.peft = peftOf(options.method, body.peft);
  for (const one of options.set ?? []) {
    const at = one.indexOf('=');
    if (at < 1)
      throw new CliError(`--set ${one}: write it as path=value, e.g. --set peft.r=8`, EXIT.usage);
    assign(one.slice(0, at), valueOf(one.slice(at + 1)));
  }
  if (typeof body.peft === 'object' && body.peft !== null) (body.peft as Body).peft_type ??= 'LORA';
  if (typeof body.method === 'object' && body.method !== null)
    (body.method as Body).type ??= 'supervised';
  for (const [field, flag] of [
    ['model', '--model'],
    ['training_file', '--train'],
  ] as const) {
    if (body[field] === undefined)
      throw new CliError(`${flag} is missing (or "${field}" in a body file)`, EXIT.usage);
  }
  return body;
}

function peftOf(method: string, given: unknown): Body | null {
  const name = method.toUpperCase().replaceAll('-', '_');
  if (name === 'FULL') return null;
  return { ...(given as Body | null | undefined), peft_type: name };
}

function readBody(file: string): Body {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body;
  } catch (error) {
    throw new CliError(`${file} cannot be used: ${(error as Error).message}`, EXIT.usage);
  }
  throw new CliError(
    `${file} must hold a JSON object: the body of POST /v1/fine_tuning/jobs`,
    EXIT.usage,
  );
}

function assignPath(body: Body, path: string, value: unknown): void {
  const names = path.split('.');
  const last = names.pop();
  if (
    last === undefined ||
    names.concat(last).some((name) => name === '' || name === '__proto__')
  ) {
    throw new CliError(`"${path}" is no field's path`, EXIT.usage);
  }
  let at = body;
  for (const name of names) {
    const next = at[name];
    if (typeof next === 'object' && next !== null) at = next as Body;
    else at = at[name] = {} as Body;
  }
  at[last] = value;
}

// JSON where it is JSON (numbers, true, null, lists), else the text itself
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function integer(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text))
    throw new CliError(`${flag} must be a whole number, not "${text}"`, EXIT.usage);
  return Number(text);
}
