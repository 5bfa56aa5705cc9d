import { existsSync, readdirSync } from 'node:fs';
import type { Catalog, FileObject, JobPreviewObject, ModelObject } from '@graft/contracts';
import { GRAFT } from '../called.js';
import { CliError, EXIT } from '../cli-error.js';
import type { Api } from '../client/api.js';
import { ColumnsError, quoted, uploaded, type Mapping } from '../client/upload.js';
import { findFileIfAny } from '../find/find-file.js';
import { findModel } from '../find/find-model.js';
import { shortId } from '../find/short-id.js';
import { problemsOf } from '../output/file-card.js';
import { planCard } from '../output/plan-card.js';
import { answered, prompts } from '../output/prompts.js';
import { ago, bytes, printable } from '../output/terminal.js';
import { removeFiles } from './body-files.js';
import { overBody, type JobFlags } from './job-body.js';
import type { Body } from './read-body.js';

/** Local files that are offered as training data. Most files that end in .json are settings. */
const DATA = /\.(jsonl|csv|tsv|parquet|arrow|zip|tar)$/i;
const MAX_OFFERED = 20;
const PREVIEW = '/fine_tuning/jobs/preview';

/** Job that the user has put together and confirmed. */
export interface AskedJob {
  readonly body: Body;
  /** Command line that creates the same job again. */
  readonly command: string;
}

/**
 * Asks for what the flags leave open: training file, base model, task, method and length. Shows the plan and asks
 * whether to start. Returns null if not. Files that were uploaded for a job that is not started are deleted again.
 * @throws CliError if the user interrupts
 */
export async function askJob(api: Api, flags: JobFlags): Promise<AskedJob | null> {
  const { intro, outro } = await prompts();
  const uploads: string[] = [];
  const interrupted = interruption();
  let started = false;
  try {
    intro('New training job. Press Ctrl-C to leave; nothing is created before you confirm.');
    const asked = await Promise.race([asking(api, flags, uploads), interrupted.promise]);
    started = asked !== null;
    outro(started ? 'Starting' : 'Nothing was started');
    return asked;
  } finally {
    interrupted.end();
    if (!started) await removeFiles(api, uploads);
  }
}

/** Ctrl-C, `kill`, and a terminal that is closed. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Rejects at a signal, also between two prompts, so that uploads can be deleted before the program ends. */
function interruption(): { promise: Promise<never>; end: () => void } {
  let leave: () => void = () => undefined;
  const promise = new Promise<never>((_, reject) => {
    leave = () => {
      // A prompt that waits for a key must not keep the program alive.
      process.stdin.unref();
      reject(new CliError('cancelled; nothing was changed', EXIT.interrupted));
    };
  });
  promise.catch(() => undefined);
  for (const signal of SIGNALS) process.on(signal, leave);
  const end = (): void => SIGNALS.forEach((signal) => process.off(signal, leave));
  return { promise, end };
}

async function asking(api: Api, flags: JobFlags, uploads: string[]): Promise<AskedJob | null> {
  const { file, path, columns } = await askFile(api, flags, uploads);
  const model = flags.model ? await findModel(api, flags.model) : await askBase(api);
  const task = flags.task ?? (await askTask(api, file, model));
  const method = flags.method ?? (await askMethod(api));
  const chosen: JobFlags = {
    ...flags,
    model,
    train: file.id,
    ...(task && { task }),
    ...(method && { method }),
  };
  const planned = await preview(api, overBody({}, chosen));
  const epochs = flags.epochs ?? (await askLength(planned.hyperparameters.n_epochs));
  const whole = { ...chosen, ...(epochs && { epochs }) };
  const body = overBody({}, whole);
  const plan = epochs ? await preview(api, body) : planned;
  const { confirm, note } = await prompts();
  note(planCard(plan), 'Plan');
  if (!(await answered(confirm({ message: 'Start?', initialValue: true })))) return null;
  return { body, command: commandOf({ ...whole, train: path, map: columns }) };
}

const preview = (api: Api, body: Body): Promise<JobPreviewObject> =>
  api.post<JobPreviewObject>(PREVIEW, body);

interface Data {
  readonly file: FileObject;
  /** Name of the file in a command line. */
  readonly path: string;
  readonly columns: Mapping;
}

async function askFile(api: Api, flags: JobFlags, uploads: string[]): Promise<Data> {
  const path = flags.train ?? (await askPath(api));
  const known = existsSync(path) ? null : await findFileIfAny(api, path);
  const data = known
    ? { file: known, path, columns: {} }
    : await uploadAsking(api, path, flags.map ?? {});
  if (!known) uploads.push(data.file.id);
  if (data.file.status === 'error') throw new CliError(problemsOf(data.file));
  const { log } = await prompts();
  const { records = 0, labels } = data.file.graft ?? {};
  const about = labels ? `, ${Object.keys(labels).length} labels` : '';
  log.info(`${printable(data.file.filename)}: ${records.toLocaleString('en')} examples${about}`);
  for (const warning of data.file.graft?.warnings ?? []) log.warn(printable(warning));
  return data;
}

const OTHER = '';

async function askPath(api: Api): Promise<string> {
  const { select, path } = await prompts();
  const local = readdirSync('.').filter((name) => DATA.test(name));
  const files = await api.all<FileObject>('/files?purpose=fine-tune', MAX_OFFERED);
  const usable = files.filter(({ status }) => status === 'processed');
  const options = [
    ...local.slice(0, MAX_OFFERED).map((name) => ({ value: name, label: name, hint: 'local' })),
    ...usable.map((file) => ({
      value: file.id,
      label: printable(file.filename),
      hint: `uploaded ${ago(file.created_at)} ago, ${shortId(file.id)}`,
    })),
    { value: OTHER, label: 'Another file or folder …' },
  ];
  const message = 'Training data';
  const chosen = await answered(select({ message, options, maxItems: 12 }));
  return chosen === OTHER ? answered(path({ message: 'Path' })) : chosen;
}

/** Uploads a file. If the meaning of its columns is unclear, asks for them. */
async function uploadAsking(api: Api, path: string, columns: Mapping): Promise<Data> {
  try {
    return { file: await uploaded(api, path, columns), path, columns };
  } catch (error) {
    if (!(error instanceof ColumnsError)) throw error;
    return uploadAsking(api, path, await askColumns(error));
  }
}

async function askColumns({ reason, suggested }: ColumnsError): Promise<Mapping> {
  const { select, text, log } = await prompts();
  log.warn(printable(reason));
  const pairs = Object.entries(suggested ?? {}).map(([field, column]) => `${field}=${column}`);
  const own = { value: OTHER, label: 'Other columns …' };
  const guess = { value: pairs.join(', '), label: pairs.join(', '), hint: 'recommended' };
  const message = 'Which columns?';
  const chosen =
    pairs.length === 0 ? OTHER : await answered(select({ message, options: [guess, own] }));
  const placeholder = 'text=message, label=category';
  const typed = chosen || (await answered(text({ message: 'FIELD=COLUMN, …', placeholder })));
  return Object.fromEntries(
    typed.split(',').flatMap((pair) => {
      const [, field, column] = /^\s*(\w+)\s*=\s*(.+?)\s*$/.exec(pair) ?? [];
      return field && column ? [[field, column]] : [];
    }),
  );
}

async function askBase(api: Api): Promise<string> {
  const { select } = await prompts();
  const { data } = await api.get<{ data: readonly ModelObject[] }>('/models');
  const ready = data.filter(({ graft }) => graft?.status === 'ready');
  const bases = ready.filter(({ graft }) => graft?.kind === 'base');
  if (bases.length === 0)
    throw new CliError(
      `no base model yet: ${GRAFT} models import hub:HuggingFaceTB/SmolLM2-135M-Instruct`,
    );
  const adapters = ready.filter(({ graft }) => graft?.kind === 'adapter');
  const options = [
    ...bases.map(({ id, graft }) => ({
      value: id,
      label: id,
      hint: `${graft?.family ?? ''}, ${bytes(graft?.bytes ?? 0)}`,
    })),
    ...adapters.map(({ id }) => ({ value: id, label: id, hint: 'continue from this model' })),
  ];
  return answered(select({ message: 'Base model', options, maxItems: 12 }));
}

/** Task of the job. Null if only one fits the file and the base model, which the API takes by itself. */
async function askTask(api: Api, { graft }: FileObject, model: string): Promise<string | null> {
  const fitting = (graft?.tasks ?? []).filter(({ fits }) => fits).map(({ task }) => task);
  if (fitting.length <= 1) return null;
  const { tasks, families } = await api.get<Catalog>('/catalog');
  const base = await api.get<ModelObject>(`/models/${encodeURIComponent(model)}`);
  const family = families.find(({ name }) => name === base.graft?.family);
  const offered = tasks.filter(
    ({ name, stacks }) => fitting.includes(name) && (!family || stacks.includes(family.stacks)),
  );
  const [only, ...others] = offered;
  if (only && others.length === 0) return only.name;
  const { select } = await prompts();
  const options = offered.map(({ name, title }, n) => ({
    value: name,
    label: title,
    hint: n === 0 ? `${name}, recommended` : name,
  }));
  return answered(select({ message: 'What should it learn?', options }));
}

const METHODS = [
  { value: 'lora', label: 'LoRA', hint: 'recommended' },
  { value: 'dora', label: 'DoRA', hint: 'often better at low ranks, slower' },
  { value: 'rslora', label: 'rsLoRA', hint: 'for high ranks' },
  { value: 'prompt_tuning', label: 'Prompt tuning', hint: 'smallest' },
  { value: 'full', label: 'Full fine-tuning', hint: 'most memory' },
];

async function askMethod(api: Api): Promise<string> {
  const { select, autocomplete } = await prompts();
  const { methods } = await api.get<Catalog>('/catalog');
  const other = { value: OTHER, label: `All ${methods.length} methods …` };
  const chosen = await answered(select({ message: 'Method', options: [...METHODS, other] }));
  if (chosen !== OTHER) return chosen;
  const options = methods.map(({ peft_type: value, title }) => ({ value, label: title }));
  return answered(autocomplete({ message: 'Method (type to search)', options, maxItems: 12 }));
}

const MAX_EPOCHS = 50;

/** Number of epochs. Null for the default. */
async function askLength(standard: number): Promise<string | null> {
  const { select } = await prompts();
  const quick = Math.max(1, Math.round(standard / 3));
  const thorough = Math.min(MAX_EPOCHS, standard * 2);
  const epochs = (n: number): string => `${n} ${n === 1 ? 'epoch' : 'epochs'}`;
  const options = [
    { value: OTHER, label: 'Standard', hint: `${epochs(standard)}, recommended` },
    ...(quick < standard ? [{ value: `${quick}`, label: 'Quick', hint: epochs(quick) }] : []),
    ...(thorough > standard
      ? [{ value: `${thorough}`, label: 'Thorough', hint: epochs(thorough) }]
      : []),
  ];
  return (await answered(select({ message: 'Length', options }))) || null;
}

function commandOf({ model, train, map = {}, task, method, epochs }: JobFlags): string {
  const flags = [
    ['--model', model],
    ['--train', train],
    ...Object.entries(map).map(([field, column]) => ['--map', `${field}=${column}`]),
    ['--task', task],
    ['--method', method],
    ['--epochs', epochs],
  ];
  const words = flags.flatMap(([flag = '', value]) => (value ? [flag, quoted(value)] : []));
  return [GRAFT, 'submit', ...words].join(' ');
}
