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
  /** The base of jobs whose own model is not in `map`; null: drafts leave it open. */
  readonly model: string | null;
  /** Whether jobs are created rather than drafted. */
  readonly train: boolean;
  /** Whether runs ask their model again here rather than being drafted. */
  readonly run: boolean;
  readonly skipMedia: boolean;
  readonly dryRun: boolean;
  /** Folder of drafts. */
  readonly drafts: string;
}

/** Under which metadata things say what they were imported from, so that nothing is made twice. */
export const FROM = 'imported_from';
const MOST_METADATA = 16;

export interface Made {
  readonly id: string;
  readonly metadata?: Readonly<Record<string, string>> | null;
}

/** One import: what was found, the outcomes so far, and what the importers of all kinds share. */
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

  tell(outcome: Outcome): void {
    this.outcomes.push(outcome);
    this.report(outcome);
  }

  /** Does one thing, and says what became of it; a refusal is its outcome. */
  async attempt(
    kind: Outcome['kind'],
    name: string,
    work: () => Promise<Done>,
  ): Promise<string | null> {
    try {
      const done = await work();
      this.tell({ kind, name, ...done });
      return done.id;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode === EXIT.unreachable) throw error;
      this.tell({ kind, name, state: 'failed', id: null, notes: error.message.split('\n') });
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

  /** The id here of a file of OpenAI's; null where it is not among what was given, or cannot be used. */
  async fileOf(id: string): Promise<string | null> {
    const file = dataFile(this.found, id);
    return file === null ? null : this.file(file);
  }

  async jobHere(id: string): Promise<JobObject | null> {
    const query = `limit=1&archived=any&metadata[${FROM}]=${encodeURIComponent(id)}`;
    return (await this.api.get<Page<JobObject>>(`/fine_tuning/jobs?${query}`)).data[0] ?? null;
  }

  /** What was said to stand for a model; for one that a job of OpenAI's made, what that job has made here. */
  async modelHere(name: string): Promise<string | null> {
    const said = modelFor(this.options.map, name);
    if (said !== null) return said;
    const made = this.found.jobs.find(({ value }) => value['fine_tuned_model'] === name);
    const id = textOf(made?.value['id']);
    return id === null ? null : ((await this.jobHere(id))?.fine_tuned_model ?? null);
  }

  /** A file that is there already stays as it is: somebody may have changed it. */
  async draft(
    name: string,
    body: Json,
    notes: readonly string[],
    how: (path: string) => string | null = () => null,
  ): Promise<Done> {
    const path = join(this.options.drafts, name);
    const use = how(path);
    const all = use === null ? notes : [...notes, use];
    const there = await readFile(path, 'utf8').catch(() => null);
    if (there !== null) return { state: 'there', id: path, notes: all };
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
  `${id} is not among what was given: download it, and put it beside as ${id}.jsonl`;

/** The thing's own metadata with where it comes from; of a full one the last pair makes room. */
export function marked(metadata: unknown, from: string): Record<string, string> {
  const own = Object.entries(isObject(metadata) ? metadata : {}).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string' && pair[0] !== FROM,
  );
  return { ...Object.fromEntries(own.slice(0, MOST_METADATA - 1)), [FROM]: from };
}
