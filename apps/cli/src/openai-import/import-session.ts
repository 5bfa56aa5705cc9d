import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobObject, Page } from '@graft/contracts';
import { CliError, EXIT } from '../cli-error.js';
import type { Api } from '../client/api.js';
import { dataFile, isObject, textOf, type DataFile, type Found, type Json } from './found.js';
import { ImportedFiles } from './imported-files.js';
import { modelFor, type ModelMap } from './model-names.js';
import type { Done, Outcome } from './outcome.js';

export interface ImportOptions {
  readonly map: ModelMap;
  /** Base model of jobs whose model is not in `map`. Null: drafts have no model. */
  readonly model: string | null;
  /** Whether to create jobs instead of drafts. */
  readonly train: boolean;
  /** Whether to run evals again instead of writing drafts. */
  readonly run: boolean;
  readonly skipMedia: boolean;
  readonly dryRun: boolean;
  /** Folder of drafts. */
  readonly drafts: string;
}

/** Metadata key with the original id, which prevents duplicate imports. */
export const FROM = 'imported_from';
const MAX_METADATA = 16;

export interface Made {
  readonly id: string;
  readonly metadata?: Readonly<Record<string, string>> | null;
}

/** State of an import that the importers share: the found objects and the outcomes so far. */
export class ImportSession {
  readonly outcomes: Outcome[] = [];
  readonly files: ImportedFiles;
  private readonly uploads = new Map<string, Promise<string | null>>();

  constructor(
    readonly api: Api,
    readonly found: Found,
    readonly options: ImportOptions,
    private readonly report: (outcome: Outcome) => void,
  ) {
    this.files = new ImportedFiles(api, found, options);
  }

  add(outcome: Outcome): void {
    this.outcomes.push(outcome);
    this.report(outcome);
  }

  /** Imports one item and records its outcome. An error of the API is a failed outcome. */
  async attempt(
    kind: Outcome['kind'],
    name: string,
    work: () => Promise<Done>,
  ): Promise<string | null> {
    try {
      const done = await work();
      this.add({ kind, name, ...done });
      return done.id;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode === EXIT.unreachable) throw error;
      this.add({ kind, name, state: 'failed', id: null, notes: error.message.split('\n') });
      return null;
    }
  }

  file(file: DataFile): Promise<string | null> {
    const known = this.uploads.get(file.path);
    if (known) return known;
    const done = this.attempt('file', file.path, () => this.files.upload(file));
    this.uploads.set(file.path, done);
    return done;
  }

  /** Id in Graft of an OpenAI file. Null if the file is not among the given files or is unusable. */
  async fileOf(id: string): Promise<string | null> {
    const file = dataFile(this.found, id);
    return file === null ? null : this.file(file);
  }

  async jobHere(id: string): Promise<JobObject | null> {
    const query = `limit=1&archived=any&metadata[${FROM}]=${encodeURIComponent(id)}`;
    return (await this.api.get<Page<JobObject>>(`/fine_tuning/jobs?${query}`)).data[0] ?? null;
  }

  /** Model in Graft for an OpenAI model: the mapped one, or for a fine-tuned model the result of its imported job. */
  async modelHere(name: string): Promise<string | null> {
    const mapped = modelFor(this.options.map, name);
    if (mapped !== null) return mapped;
    const made = this.found.jobs.find(({ value }) => value['fine_tuned_model'] === name);
    const id = textOf(made?.value['id']);
    return id === null ? null : ((await this.jobHere(id))?.fine_tuned_model ?? null);
  }

  /** Writes a draft. Never overwrites an existing draft, because the user may have changed it. */
  async draft(
    name: string,
    body: Json,
    notes: readonly string[],
    how: (path: string) => string | null = () => null,
  ): Promise<Done> {
    const path = join(this.options.drafts, name);
    const use = how(path);
    const all = use === null ? notes : [...notes, use];
    const existing = await readFile(path, 'utf8').catch(() => null);
    if (existing !== null) return { state: 'there', id: path, notes: all };
    if (this.options.dryRun) return { state: 'draft', id: path, notes };
    await mkdir(this.options.drafts, { recursive: true });
    await writeFile(path, `${JSON.stringify(body, null, 2)}\n`);
    return { state: 'draft', id: path, notes: all };
  }
}

export const labelOf = (value: Json): string => {
  const id = textOf(value['id']);
  const name =
    textOf(value['name']) ?? textOf(value['user_provided_suffix']) ?? textOf(value['suffix']);
  return [id, name === null ? null : `"${name}"`].filter(Boolean).join(' ') || 'unnamed';
};

export const missing = (id: string): string =>
  `${id} is not among the given files; download it and save it as ${id}.jsonl in the same folder`;

/** Metadata with the original id added. Drops the last pair if the metadata is full. */
export function marked(metadata: unknown, from: string): Record<string, string> {
  const own = Object.entries(isObject(metadata) ? metadata : {}).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string' && pair[0] !== FROM,
  );
  return { ...Object.fromEntries(own.slice(0, MAX_METADATA - 1)), [FROM]: from };
}
