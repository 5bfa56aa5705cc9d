import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseAllDocuments } from 'yaml';
import { CliError, EXIT } from '../cli-error.js';

// Finds exports of OpenAI by the content of files, not by their names.

export type Json = Readonly<Record<string, unknown>>;

/** Value with the path of its file. */
export interface From<T> {
  readonly path: string;
  readonly value: T;
}

export interface DataFile {
  readonly path: string;
  readonly purpose: 'fine-tune' | 'evals';
  readonly lines: number;
  /** Numbers of the lines with images, audio or files in their messages. */
  readonly media: readonly number[];
}

export interface Found {
  readonly data: DataFile[];
  readonly jobs: From<Json>[];
  readonly evals: From<Json>[];
  readonly runs: From<Json>[];
  readonly outputItems: From<Json>[];
  /** OpenAI's file objects, which have the names of ids. */
  readonly files: From<Json>[];
  readonly promptfoo: From<Json>[];
  /** Files without anything to import, with the reason. */
  readonly others: From<string>[];
}

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const textOf = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' ? value : null;

/** Id derived from the content, for values without an id. */
export const contentId = (kind: string, value: unknown): string =>
  `${kind}:${createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 24)}`;

const LINES = ['.jsonl', '.ndjson'];
const DOCUMENTS = ['.json', '.yaml', '.yml'];
/** Larger documents are not exports of OpenAI. */
const MAX_DOCUMENT_BYTES = 256 * 1024 * 1024;

/** Reads files and folders recursively. @throws CliError if a path does not exist */
export async function find(paths: readonly string[]): Promise<Found> {
  const found: Found = {
    data: [],
    jobs: [],
    evals: [],
    runs: [],
    outputItems: [],
    files: [],
    promptfoo: [],
    others: [],
  };
  for (const path of paths) await add(found, path, true);
  const { jobs, evals, runs, outputItems, files } = found;
  return {
    ...found,
    jobs: once(jobs),
    evals: once(evals),
    runs: once(runs),
    outputItems: once(outputItems),
    files: once(files),
  };
}

/** Removes duplicate ids, which occur because an object may be in a list and in its own file. Keeps the last one. */
const once = (all: readonly From<Json>[]): From<Json>[] => [
  ...new Map(all.map((one) => [one.value['id'] ?? one, one])).values(),
];

async function add(found: Found, path: string, named: boolean): Promise<void> {
  const { size, isFolder } = await lookAt(path);
  if (isFolder) {
    for (const entry of (await readdir(path)).sort())
      if (!entry.startsWith('.') && entry !== 'node_modules')
        await add(found, join(path, entry), false);
    return;
  }
  const kind = extname(path).toLowerCase();
  if (LINES.includes(kind)) return addLines(found, path);
  if (DOCUMENTS.includes(kind) && size <= MAX_DOCUMENT_BYTES) return addDocuments(found, path);
  if (named || kind === '.csv')
    found.others.push({ path, value: 'not JSON Lines, JSON or YAML; skipped' });
}

async function lookAt(path: string): Promise<{ size: number; isFolder: boolean }> {
  try {
    const found = await stat(path);
    return { size: found.size, isFolder: found.isDirectory() };
  } catch {
    throw new CliError(`cannot read ${path}: no such file or folder`, EXIT.usage);
  }
}

async function addLines(found: Found, path: string): Promise<void> {
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity });
  const media: number[] = [];
  let number = 0;
  let first: Json | null = null;
  for await (const line of lines) {
    number += 1;
    const text = line.replace(/^\ufeff/, '').trim();
    if (text === '') continue;
    const record = parsed(text);
    first ??= isObject(record) ? record : {};
    if (hasMedia(record)) media.push(number);
  }
  if (first === null) {
    found.others.push({ path, value: 'the file is empty' });
  } else if ('object' in first || 'custom_id' in first) {
    const what =
      'custom_id' in first
        ? 'requests or responses of a batch'
        : `lines of ${String(first['object'])}`;
    found.others.push({ path, value: `${what} have no counterpart` });
  } else {
    const purpose = isObject(first['item']) ? 'evals' : 'fine-tune';
    found.data.push({ path, purpose, lines: number, media });
  }
}

const MEDIA = ['image_url', 'input_image', 'input_audio', 'audio', 'file', 'input_file'];

/** Whether a message in a record has a part that is not text. */
export function hasMedia(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasMedia);
  if (!isObject(value)) return false;
  const parts = listOf(value['content']).filter(isObject);
  return (
    parts.some(({ type }) => MEDIA.includes(String(type))) || Object.values(value).some(hasMedia)
  );
}

async function addDocuments(found: Found, path: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  let documents: unknown[];
  try {
    documents =
      extname(path).toLowerCase() === '.json'
        ? [JSON.parse(text.replace(/^\ufeff/, ''))]
        : parseAllDocuments(text).map((one) => {
            if (one.errors[0]) throw one.errors[0];
            return one.toJS({ maxAliasCount: 1000 }) as unknown;
          });
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n');
    found.others.push({ path, value: `cannot be read: ${reason}` });
    return;
  }
  const known = documents.filter((document) => addValue(found, path, document));
  if (known.length === 0)
    found.others.push({
      path,
      value: 'neither an OpenAI export nor a Promptfoo configuration',
    });
}

/** Adds a value. Returns whether it is an object of OpenAI or Promptfoo, even one that is not imported. */
function addValue(found: Found, path: string, value: unknown): boolean {
  if (Array.isArray(value))
    return value.map((one) => addValue(found, path, one)).some((known) => known);
  if (!isObject(value)) return false;
  const push = (list: From<Json>[]): boolean => list.push({ path, value }) > 0;
  switch (value['object']) {
    case 'list':
    case 'page':
      addValue(found, path, value['data']);
      return true;
    case 'file':
      return push(found.files);
    case 'fine_tuning.job':
      return push(found.jobs);
    case 'eval':
      return addEval(found, path, value);
    case 'eval.run':
      return addRun(found, path, value);
    case 'eval.run.output_item':
      return push(found.outputItems);
    // Results of a job at OpenAI, which cannot be imported.
    case 'fine_tuning.job.checkpoint':
    case 'fine_tuning.job.event':
      return true;
  }
  if ('testing_criteria' in value) return addEval(found, path, value);
  if ('training_file' in value) return push(found.jobs);
  if ('data_source' in value && 'eval_id' in value) return addRun(found, path, value);
  if ('prompts' in value && ('tests' in value || 'providers' in value))
    return push(found.promptfoo);
  return ['data', 'jobs', 'evals', 'runs', 'output_items', 'files']
    .map((key) => addValue(found, path, value[key]))
    .some((known) => known);
}

/** Adds an eval and the runs inside it, if it has any. */
function addEval(found: Found, path: string, value: Json): boolean {
  const id = textOf(value['id']) ?? contentId('eval', value);
  found.evals.push({ path, value: { ...value, id } });
  for (const run of listOf(value['runs']).filter(isObject))
    addRun(found, path, { eval_id: id, ...run });
  return true;
}

function addRun(found: Found, path: string, value: Json): boolean {
  const id = textOf(value['id']) ?? contentId('run', value);
  found.runs.push({ path, value: { ...value, id } });
  for (const item of listOf(value['output_items']).filter(isObject))
    found.outputItems.push({ path, value: { run_id: id, ...item } });
  return true;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Data file of an OpenAI file id, by the id in its name or by the name in its file object. */
export function dataFile(found: Found, id: string): DataFile | null {
  const called = found.data.filter(({ path }) => {
    const name = basename(path);
    return name.startsWith(id) && /^(?:[._-].*)?$/.test(name.slice(id.length));
  });
  if (called[0]) return called[0];
  const name = fileName(found, id);
  const named = name === null ? [] : found.data.filter(({ path }) => basename(path) === name);
  return named.length === 1 ? named[0]! : null;
}

/** Name of the file at OpenAI. Null if unknown. */
export function fileName(found: Found, id: string): string | null {
  const object = found.files.find(({ value }) => value['id'] === id);
  return object ? textOf(object.value['filename']) : null;
}
