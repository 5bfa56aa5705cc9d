import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobObject, ModelObject, Page } from '@graft/contracts';
import { ApiError, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { evalBody, recordedRows, runBody, type Criterion, type RunBody } from './evals.js';
import {
  dataFile,
  isObject,
  textOf,
  type DataFile,
  type Found,
  type From,
  type Json,
} from './found.js';
import { hashOf, ImportedFiles } from './imported-files.js';
import { jobBody } from './jobs.js';
import { mapAdvice, modelFor, type ModelMap } from './model-names.js';
import type { Done, Outcome } from './outcome.js';
import { readPromptfoo } from './promptfoo.js';

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
const FROM = 'imported_from';
const MOST_METADATA = 16;

interface Made {
  readonly id: string;
  readonly metadata?: Readonly<Record<string, string>> | null;
}

/** Makes here what was found, one thing after the other; whatever fails, the rest goes on. */
export class Importer {
  private readonly outcomes: Outcome[] = [];
  private readonly uploads = new Map<string, Promise<string | null>>();
  private readonly files: ImportedFiles;
  private evalsHere: Promise<Made[]> | null = null;

  constructor(
    private readonly api: Api,
    private readonly found: Found,
    private readonly options: ImportOptions,
    private readonly report: (outcome: Outcome) => void,
  ) {
    this.files = new ImportedFiles(api, found, options);
  }

  async run(): Promise<readonly Outcome[]> {
    await this.checkModels();
    for (const file of this.found.data) await this.file(file);
    for (const one of this.found.evals) await this.eval(one);
    for (const one of this.found.runs) if (!this.found.evals.some(isOf(one))) this.stray(one);
    for (const one of this.found.promptfoo) await this.promptfoo(one);
    for (const one of this.found.jobs) await this.job(one);
    for (const { path, value } of this.found.others)
      this.tell({ kind: 'other', name: path, state: 'no counterpart', id: null, notes: [value] });
    return this.outcomes;
  }

  private tell(outcome: Outcome): void {
    this.outcomes.push(outcome);
    this.report(outcome);
  }

  /** @throws CliError where a model that was named is not in Graft */
  private async checkModels(): Promise<void> {
    const { map, model } = this.options;
    const named = [...new Set([...Object.values(map), ...(model === null ? [] : [model])])];
    if (named.length === 0) return;
    const models = await this.api.get<Page<ModelObject>>('/models');
    const missing = named.find((name) => !models.data.some(({ id }) => id === name));
    if (missing !== undefined)
      throw new CliError(`no model named ${missing}; see graft models`, EXIT.usage);
  }

  /** Does one thing, and says what became of it; a refusal is its outcome. */
  private async attempt(
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

  private file(file: DataFile): Promise<string | null> {
    const known = this.uploads.get(file.path);
    if (known) return known;
    const done = this.attempt('file', file.path, () => this.files.upload(file));
    this.uploads.set(file.path, done);
    return done;
  }

  /** The id here of a file of OpenAI's; null where it is not among what was given, or cannot be used. */
  private async fileOf(id: string): Promise<string | null> {
    const file = dataFile(this.found, id);
    return file === null ? null : this.file(file);
  }

  private async eval({ value }: From<Json>): Promise<void> {
    const id = String(value['id']);
    const label = labelOf(value);
    const { body, criteria, note } = evalBody(value, this.options.map);
    if (body === null)
      return this.tell({
        kind: 'eval',
        name: label,
        state: 'no counterpart',
        id: null,
        notes: note === null ? [] : [note],
      });
    const made = await this.attempt('eval', label, () =>
      this.makeEval(id, { ...body, metadata: marked(value['metadata'], id) }, criteria),
    );
    if (made === null && !this.options.dryRun) return;
    for (const run of this.found.runs)
      if (run.value['eval_id'] === id) await this.runOf(made, run.value);
  }

  private async makeEval(from: string, body: Json, criteria: readonly Criterion[]): Promise<Done> {
    this.evalsHere ??= this.api.all<Made>('/evals');
    const there = (await this.evalsHere).find(({ metadata }) => metadata?.[FROM] === from);
    if (there) return { state: 'there', id: there.id, notes: [] };
    const kept: Json[] = [];
    const notes: string[] = [];
    for (const one of criteria) {
      const wrong = one.body === null ? one.note : await this.wrongWith(one.body);
      if (wrong === null) kept.push(one.body!);
      if (wrong !== null || one.note !== null)
        notes.push(`criterion ${one.name}: ${wrong === null ? one.note : `left out: ${wrong}`}`);
    }
    if (kept.length === 0)
      return {
        state: 'no counterpart',
        id: null,
        notes: [...notes, 'none of its criteria can be had here'],
      };
    if (this.options.dryRun) return { state: 'made', id: null, notes };
    const { id } = await this.api.post<Made>('/evals', { ...body, testing_criteria: kept });
    return { state: 'made', id, notes };
  }

  /** What the server says of a grader, or null. */
  private async wrongWith({ pass_threshold: _, ...grader }: Json): Promise<string | null> {
    try {
      await this.api.post('/fine_tuning/alpha/graders/validate', { grader });
      return null;
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) return error.message;
      throw error;
    }
  }

  private stray({ value }: From<Json>): void {
    const notes = [`its eval ${String(value['eval_id'])} is not among what was given`];
    this.tell({ kind: 'run', name: labelOf(value), state: 'no counterpart', id: null, notes });
  }

  /** @param evalId null in a plan, where the eval is not made yet */
  private async runOf(evalId: string | null, run: Json): Promise<void> {
    const id = String(run['id']);
    const items = this.found.outputItems.filter(({ value }) => value['run_id'] === id);
    const recorded = recordedRows(items.map(({ value }) => value));
    const label = labelOf(run);
    if (recorded.length > 0)
      await this.attempt('run', `${label}, as answered at OpenAI`, async () => {
        const body = {
          name: `${textOf(run['name']) ?? id}, as answered at OpenAI`,
          data_source: { type: 'jsonl' },
        };
        return this.makeRun(
          evalId,
          `${id}:answers`,
          body,
          await this.files.content(recorded, `${id}.answers.jsonl`),
        );
      });
    const of = runBody(run);
    if (of.dataSource === null)
      return this.tell({
        kind: 'run',
        name: label,
        state: 'no counterpart',
        id: null,
        notes: of.notes,
      });
    await this.attempt('run', label, () => this.again(evalId, run, of));
  }

  private async again(evalId: string | null, run: Json, of: RunBody): Promise<Done> {
    const id = String(run['id']);
    const source = of.source!;
    const file =
      source.kind === 'file'
        ? await this.fileOf(source.id)
        : await this.files.content(source.rows, `${id}.jsonl`);
    if (
      file === null &&
      source.kind === 'file' &&
      !(this.options.dryRun && dataFile(this.found, source.id))
    )
      return { state: 'no counterpart', id: null, notes: [missing(source.id)] };
    const model = of.model === null ? null : await this.modelHere(of.model);
    const body = {
      name: textOf(run['name']) ?? '',
      metadata: run['metadata'],
      data_source: { ...of.dataSource, ...(of.model === null ? {} : { model: model ?? of.model }) },
    };
    if (of.model !== null && model === null)
      return this.draft(`${id}.run.json`, withSource(body, file), [
        ...of.notes,
        `asks ${of.model}, a hosted model; ${mapAdvice(of.model)}`,
      ]);
    if (of.model !== null && !this.options.run)
      return this.draft(`${id}.run.json`, withSource(body, file), [
        ...of.notes,
        evalId === null
          ? 'graft evals run makes it'
          : `make it with graft evals run ${evalId} FILE, or all with --run`,
      ]);
    return this.makeRun(evalId, id, body, file, of.notes);
  }

  private async makeRun(
    evalId: string | null,
    from: string,
    body: Json,
    file: string | null,
    notes: readonly string[] = [],
  ): Promise<Done> {
    if (evalId === null) return { state: 'made', id: null, notes };
    const path = `/evals/${evalId}/runs`;
    const there = (await this.api.all<Made>(path)).find(
      ({ metadata }) => metadata?.[FROM] === from,
    );
    if (there) return { state: 'there', id: there.id, notes };
    if (this.options.dryRun || file === null) return { state: 'made', id: null, notes };
    const sent = withSource({ ...body, metadata: marked(body['metadata'], from) }, file);
    return { state: 'made', id: (await this.api.post<Made>(path, sent)).id, notes };
  }

  private async promptfoo(one: From<Json>): Promise<void> {
    const { evals, runs, notes } = await readPromptfoo(one, this.options.map);
    if (notes.length > 0)
      this.tell({ kind: 'other', name: one.path, state: 'no counterpart', id: null, notes });
    for (const each of evals) {
      const config = {
        type: 'custom',
        item_schema: { type: 'object' },
        include_sample_schema: true,
      };
      const body = { name: each.name, data_source_config: config, metadata: { [FROM]: each.id } };
      const id = await this.attempt('eval', each.name, () =>
        this.makeEval(each.id, body, each.criteria),
      );
      if (id === null && !this.options.dryRun) continue;
      const content = each.items.map((item) => ({ item }));
      for (const run of runs)
        await this.attempt('run', `${each.name}: ${run.name}`, () =>
          this.again(
            id,
            {
              id: `${each.id.replace(':', '-')}-${hashOf(JSON.stringify(run)).slice(0, 8)}`,
              name: run.name,
            },
            {
              source: { kind: 'content', rows: content },
              dataSource: {
                type: 'completions',
                input_messages: { type: 'template', template: run.template },
                sampling_params: run.sampling,
              },
              model: run.model ?? 'MODEL',
              notes: [],
            },
          ),
        );
    }
  }

  private async job({ value }: From<Json>): Promise<void> {
    await this.attempt('job', labelOf(value), async () => {
      const { body, notes } = jobBody(value);
      if (body === null) return { state: 'no counterpart', id: null, notes };
      const told = [...notes];
      for (const field of ['training_file', 'validation_file']) {
        const id = textOf(value[field]);
        if (id === null) continue;
        const here = await this.fileOf(id);
        const planned = this.options.dryRun && dataFile(this.found, id) !== null;
        if (here === null && !planned)
          return {
            state: 'no counterpart',
            id: null,
            notes: [...told, `${field}: ${missing(id)}`],
          };
        body[field] = here;
      }
      const asked = String(value['model']);
      const model = (await this.modelHere(asked)) ?? this.options.model;
      if (model !== null) body['model'] = model;
      const id = textOf(value['id']) ?? `job-${hashOf(JSON.stringify(value)).slice(0, 24)}`;
      body['metadata'] = marked(value['metadata'], id);
      if (model === null) told.push(`was trained on ${asked}; name a base of Graft: --model BASE`);
      const unfinished = ['failed', 'cancelled'].includes(String(value['status']));
      if (unfinished) told.push(`${String(value['status'])} at OpenAI`);
      const there = await this.jobHere(id);
      if (there) return { state: 'there', id: there.id, notes: told };
      if (!this.options.train || model === null || unfinished) {
        const as = model === null ? ' --model BASE' : '';
        return this.draft(`${id}.json`, body, told, (path) => `graft submit ${path}${as}`);
      }
      if (this.options.dryRun) return { state: 'made', id: null, notes: told };
      return {
        state: 'made',
        id: (await this.api.post<JobObject>('/fine_tuning/jobs', body)).id,
        notes: told,
      };
    });
  }

  private async jobHere(id: string): Promise<JobObject | null> {
    const query = `limit=1&archived=any&metadata[${FROM}]=${encodeURIComponent(id)}`;
    return (await this.api.get<Page<JobObject>>(`/fine_tuning/jobs?${query}`)).data[0] ?? null;
  }

  /** What was said to stand for a model; for one that a job of OpenAI's made, what that job has made here. */
  private async modelHere(name: string): Promise<string | null> {
    const said = modelFor(this.options.map, name);
    if (said !== null) return said;
    const made = this.found.jobs.find(({ value }) => value['fine_tuned_model'] === name);
    const id = textOf(made?.value['id']);
    return id === null ? null : ((await this.jobHere(id))?.fine_tuned_model ?? null);
  }

  /** A file that is there already stays as it is: somebody may have changed it. */
  private async draft(
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

const isOf =
  (run: From<Json>) =>
  ({ value }: From<Json>): boolean =>
    value['id'] === run.value['eval_id'];

const labelOf = (value: Json): string => {
  const id = textOf(value['id']);
  const name =
    textOf(value['name']) ?? textOf(value['user_provided_suffix']) ?? textOf(value['suffix']);
  return [id, name === null ? null : `"${name}"`].filter(Boolean).join(' ') || 'unnamed';
};

const missing = (id: string): string =>
  `${id} is not among what was given: download it, and put it beside as ${id}.jsonl`;

/** The thing's own metadata with where it comes from; of a full one the last pair makes room. */
function marked(metadata: unknown, from: string): Record<string, string> {
  const own = Object.entries(isObject(metadata) ? metadata : {}).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string' && pair[0] !== FROM,
  );
  return { ...Object.fromEntries(own.slice(0, MOST_METADATA - 1)), [FROM]: from };
}

function withSource(body: Json, file: string | null): Json {
  const source = { type: 'file_id', id: file };
  return { ...body, data_source: { ...(body['data_source'] as Json), source } };
}
