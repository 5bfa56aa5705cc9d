import { ApiError } from '../client/api.js';
import { evalBody, recordedRows, runBody, type Criterion, type RunBody } from './evals.js';
import { dataFile, textOf, type From, type Json } from './found.js';
import { hashOf } from './imported-files.js';
import { FROM, labelOf, marked, missing, type ImportSession, type Made } from './import-session.js';
import { mapAdvice } from './model-names.js';
import type { Done } from './outcome.js';
import { readPromptfoo } from './promptfoo.js';
import { GRAFT } from '../called.js';

/** Imports the evals of OpenAI and promptfoo, and their runs. */
export class ImportedEvals {
  private evalsHere: Promise<Made[]> | null = null;

  constructor(private readonly session: ImportSession) {}

  async run(): Promise<void> {
    const { found } = this.session;
    for (const one of found.evals) await this.eval(one);
    for (const one of found.runs) if (!found.evals.some(isOf(one))) this.runWithoutEval(one);
    for (const one of found.promptfoo) await this.promptfoo(one);
  }

  private async eval({ value }: From<Json>): Promise<void> {
    const id = String(value['id']);
    const label = labelOf(value);
    const { body, criteria, note } = evalBody(value, this.session.options.map);
    if (body === null)
      return this.session.add({
        kind: 'eval',
        name: label,
        state: 'no counterpart',
        id: null,
        notes: note === null ? [] : [note],
      });
    const made = await this.session.attempt('eval', label, () =>
      this.makeEval(id, { ...body, metadata: marked(value['metadata'], id) }, criteria),
    );
    if (made === null && !this.session.options.dryRun) return;
    for (const run of this.session.found.runs)
      if (run.value['eval_id'] === id) await this.runOf(made, run.value);
  }

  private async makeEval(from: string, body: Json, criteria: readonly Criterion[]): Promise<Done> {
    this.evalsHere ??= this.session.api.all<Made>('/evals');
    const existing = (await this.evalsHere).find(({ metadata }) => metadata?.[FROM] === from);
    if (existing) return { state: 'there', id: existing.id, notes: [] };
    const supported: Json[] = [];
    const notes: string[] = [];
    for (const one of criteria) {
      const wrong = one.body === null ? one.note : await this.wrongWith(one.body);
      if (wrong === null) supported.push(one.body!);
      if (wrong !== null || one.note !== null)
        notes.push(`criterion ${one.name}: ${wrong === null ? one.note : `skipped: ${wrong}`}`);
    }
    if (supported.length === 0)
      return {
        state: 'no counterpart',
        id: null,
        notes: [...notes, 'none of its criteria has a counterpart'],
      };
    if (this.session.options.dryRun) return { state: 'made', id: null, notes };
    const { id } = await this.session.api.post<Made>('/evals', {
      ...body,
      testing_criteria: supported,
    });
    return { state: 'made', id, notes };
  }

  /** Validation error of a grader. Null if it is valid. */
  private async wrongWith({ pass_threshold: _, ...grader }: Json): Promise<string | null> {
    try {
      await this.session.api.post('/fine_tuning/alpha/graders/validate', { grader });
      return null;
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) return error.message;
      throw error;
    }
  }

  private runWithoutEval({ value }: From<Json>): void {
    const notes = [`its eval ${String(value['eval_id'])} is not among the given files`];
    this.session.add({
      kind: 'run',
      name: labelOf(value),
      state: 'no counterpart',
      id: null,
      notes,
    });
  }

  /** @param evalId null in a dry run, because the eval does not exist yet */
  private async runOf(evalId: string | null, run: Json): Promise<void> {
    const id = String(run['id']);
    const items = this.session.found.outputItems.filter(({ value }) => value['run_id'] === id);
    const recorded = recordedRows(items.map(({ value }) => value));
    const label = labelOf(run);
    if (recorded.length > 0)
      await this.session.attempt('run', `${label}, recorded answers`, async () => {
        const body = {
          name: `${textOf(run['name']) ?? id}, recorded answers`,
          data_source: { type: 'jsonl' },
        };
        return this.makeRun(
          evalId,
          `${id}:answers`,
          body,
          await this.session.files.content(recorded, `${id}.answers.jsonl`),
        );
      });
    const of = runBody(run);
    if (of.dataSource === null)
      return this.session.add({
        kind: 'run',
        name: label,
        state: 'no counterpart',
        id: null,
        notes: of.notes,
      });
    await this.session.attempt('run', label, () => this.again(evalId, run, of));
  }

  private async again(evalId: string | null, run: Json, of: RunBody): Promise<Done> {
    const id = String(run['id']);
    const source = of.source!;
    const file =
      source.kind === 'file'
        ? await this.session.fileOf(source.id)
        : await this.session.files.content(source.rows, `${id}.jsonl`);
    if (
      file === null &&
      source.kind === 'file' &&
      !(this.session.options.dryRun && dataFile(this.session.found, source.id))
    )
      return { state: 'no counterpart', id: null, notes: [missing(source.id)] };
    const model = of.model === null ? null : await this.session.modelHere(of.model);
    const body = {
      name: textOf(run['name']) ?? '',
      metadata: run['metadata'],
      data_source: { ...of.dataSource, ...(of.model === null ? {} : { model: model ?? of.model }) },
    };
    if (of.model !== null && model === null)
      return this.session.draft(`${id}.run.json`, withSource(body, file), [
        ...of.notes,
        `it uses the hosted model ${of.model}; ${mapAdvice(of.model)}`,
      ]);
    if (of.model !== null && !this.session.options.run)
      return this.session.draft(`${id}.run.json`, withSource(body, file), [
        ...of.notes,
        evalId === null
          ? `create it with ${GRAFT} evals run`
          : `create it with ${GRAFT} evals run ${evalId} FILE, or create all runs with --run`,
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
    const existing = (await this.session.api.all<Made>(path)).find(
      ({ metadata }) => metadata?.[FROM] === from,
    );
    if (existing) return { state: 'there', id: existing.id, notes };
    if (this.session.options.dryRun || file === null) return { state: 'made', id: null, notes };
    const sent = withSource({ ...body, metadata: marked(body['metadata'], from) }, file);
    return { state: 'made', id: (await this.session.api.post<Made>(path, sent)).id, notes };
  }

  private async promptfoo(one: From<Json>): Promise<void> {
    const { evals, runs, notes } = await readPromptfoo(one, this.session.options.map);
    if (notes.length > 0)
      this.session.add({
        kind: 'other',
        name: one.path,
        state: 'no counterpart',
        id: null,
        notes,
      });
    for (const each of evals) {
      const config = {
        type: 'custom',
        item_schema: { type: 'object' },
        include_sample_schema: true,
      };
      const body = { name: each.name, data_source_config: config, metadata: { [FROM]: each.id } };
      const id = await this.session.attempt('eval', each.name, () =>
        this.makeEval(each.id, body, each.criteria),
      );
      if (id === null && !this.session.options.dryRun) continue;
      const content = each.items.map((item) => ({ item }));
      for (const run of runs)
        await this.session.attempt('run', `${each.name}: ${run.name}`, () =>
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
}

const isOf =
  (run: From<Json>) =>
  ({ value }: From<Json>): boolean =>
    value['id'] === run.value['eval_id'];

function withSource(body: Json, file: string | null): Json {
  const source = { type: 'file_id', id: file };
  return { ...body, data_source: { ...(body['data_source'] as Json), source } };
}
