import { Injectable } from '@nestjs/common';
import { DomainError, parseBody, type Page } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import { projectPrincipal, type Principal } from '../auth/principal.js';
import { BlobStore } from '../blobs/blob-store.js';
import { StorageQuota } from '../blobs/storage-quota.js';
import { ChatService } from '../chat/chat.service.js';
import { Database } from '../database/database.js';
import { EvalRun, type Eval } from '../database/entities/evals.js';
import { jsonbText } from '../database/jsonb.js';
import { EVALS_PURPOSE, FilesService } from '../files/files.service.js';
import { mapTexts } from '../graders/graders.service.js';
import { checkTemplate } from '../graders/template.js';
import { oneOf, pageOf, pageQuery } from '../http/parse.js';
import { newId } from '../ids.js';
import { DefaultNames, nameStem } from '../lifecycle/default-names.js';
import { Quotas } from '../lifecycle/lease/quotas.js';
import { SweepEnds } from '../lifecycle/sweep-ends.js';
import { isCheckpoint, ModelsService } from '../models/models.service.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';
import { CreateRunBody, type DataSource } from './eval-body.js';
import { EvalItems } from './eval-items.js';
import { itemNumber, itemObject, runObject } from './eval-objects.js';
import { EvalRunner } from './eval-runner.js';
import { EvalsService } from './evals.service.js';
import { MOST_BYTES, type ItemBatch } from './item-batches.js';
import { checkedRows, fileRows, runSlots } from './source-rows.js';

type Shown = ReturnType<typeof runObject>;
type Query = Record<string, unknown>;

interface RunToBe {
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>> | null | undefined;
  readonly source: DataSource;
}

@Injectable()
export class EvalRunsService {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly blobs: BlobStore,
    private readonly files: FilesService,
    private readonly chats: ChatService,
    private readonly models: ModelsService,
    private readonly evals: EvalsService,
    private readonly items: EvalItems,
    private readonly quotas: Quotas,
    private readonly storage: StorageQuota,
    private readonly runner: EvalRunner,
    private readonly webhooks: WebhookEvents,
    private readonly sweeps: SweepEnds,
    private readonly names: DefaultNames,
  ) {}

  async create(caller: Principal, evalId: string, body: unknown): Promise<Shown> {
    const of = await this.evals.row(caller, evalId);
    const { name = '', metadata, data_source: source } = parseBody(CreateRunBody, body);
    await this.checkSource(caller, source);
    const done = await runSlots.take(caller.projectId, new AbortController().signal);
    try {
      const id = await this.insert(caller, of, { name, metadata, source });
      const created = await this.get(caller, evalId, id);
      this.runner.scan();
      return created;
    } finally {
      done();
    }
  }

  private async insert(
    caller: Principal,
    of: Eval,
    { name, metadata, source }: RunToBe,
  ): Promise<string> {
    await this.quotas.checkEvalRuns(caller.projectId);
    const batches = await this.batches(caller, of, source);
    const id = newId('evalrun_');
    await this.database.transaction(async (manager) => {
      const held = await this.database.query(
        'SELECT 1 FROM eval WHERE id = $1 FOR KEY SHARE',
        [of.id],
        manager,
      );
      if (held.length === 0)
        throw new DomainError('not_found', `No such Eval: ${of.id}`, 'eval_id');
      await this.lockModels(manager, of, source);
      await this.database.query(
        `INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, metadata)
         VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb) ON CONFLICT DO NOTHING`,
        [
          id,
          of.id,
          caller.projectId,
          caller.keyId,
          name,
          source.type === 'jsonl' ? '' : source.model,
          jsonbText(source),
          jsonbText(metadata ?? {}),
        ],
        manager,
      );
      await this.items.insert(manager, id, batches);
      // Inserting the items takes long, so the quota is locked only afterwards: from here on, other runs of the
      // project wait.
      await this.quotas.admitEvalRun(manager, caller.projectId, id);
      await this.storage.enforce(manager, caller.projectId);
      if (name === '') await this.nameRun(manager, of, id, source);
      const items = batches.reduce((sum, { count }) => sum + count, 0);
      const detail = { eval: of.id, items };
      await this.audit.write(manager, { caller, action: 'eval_run.created', target: id, detail });
    });
    return id;
  }

  /** Names the run after its model and eval. Other runs of the project wait anyway (admitEvalRun). */
  private async nameRun(
    manager: EntityManager,
    of: Eval,
    id: string,
    source: DataSource,
  ): Promise<void> {
    const label = of.name || of.id;
    const name = await this.names.next(
      manager,
      of.project_id,
      source.type === 'jsonl'
        ? { stem: `${nameStem(label, 'eval')}-answers` }
        : { models: [source.model], label },
    );
    await this.database.query('UPDATE eval_run SET name = $2 WHERE id = $1', [id, name], manager);
  }

  /**
   * Protects the run's models and grading models from deletion until the run is written. Deletions check existing
   * runs.
   */
  private async lockModels(manager: EntityManager, of: Eval, source: DataSource): Promise<void> {
    const named = new Map<string, string>();
    for (const [i, { model }] of of.testing_criteria.entries())
      if (typeof model === 'string') named.set(model, `testing_criteria.${i}.model`);
    if (source.type !== 'jsonl') named.set(source.model, 'data_source.model');
    // A checkpoint has no separate row and cannot be deleted by its name.
    for (const id of [...named.keys()].filter((one) => !isCheckpoint(one)).sort())
      await this.models.lock(manager, id, named.get(id)!);
  }

  private async checkSource(caller: Principal, source: DataSource): Promise<void> {
    if (source.type === 'jsonl') return;
    const { input_messages: input, model, sampling_params: sampling } = source;
    if (input.type === 'template')
      mapTexts(input.template, 'data_source.input_messages.template', (text, param) => {
        checkTemplate(text, param);
        return text;
      });
    const principal = projectPrincipal({ project_id: caller.projectId, key_id: caller.keyId });
    const tokens = sampling?.max_completion_tokens;
    const param = 'data_source.sampling_params.max_completion_tokens';
    const limit = tokens == null ? null : { tokens, param };
    await this.chats.check(principal, model, 'data_source.model', limit);
  }

  private async batches(caller: Principal, of: Eval, { source }: DataSource): Promise<ItemBatch[]> {
    const schema = of.data_source_config['item_schema'] as Readonly<Record<string, unknown>>;
    const form = { project: caller.projectId, schema };
    if (source.type === 'file_content')
      return checkedRows(source.content, form, 'data_source.source.content');
    const file = await this.files.row(caller, source.id, 'data_source.source.id');
    if (file.purpose === EVALS_PURPOSE) {
      // Check the size before the blob is downloaded from the storage.
      if (file.bytes > MOST_BYTES) throw tooLarge(file.bytes);
      const path = await this.blobs.file({ sha256: file.sha256, size: file.bytes });
      return fileRows(path, form, 'data_source.source.id');
    }
    throw new DomainError(
      'invalid_value',
      `${source.id} has purpose ${file.purpose}; upload it with purpose ${EVALS_PURPOSE}`,
      'data_source.source.id',
    );
  }

  async list(caller: Principal, evalId: string, query: Query): Promise<Page<Shown>> {
    const of = await this.evals.row(caller, evalId);
    const { limit, after } = pageQuery(query, 20, 100);
    const order = oneOf(query, 'order', ['asc', 'desc']);
    const status = query['status'] === undefined ? null : oneOf(query, 'status', STATUSES);
    if (after) await this.row(caller, evalId, after, 'after');
    const rows = await this.database.query<EvalRun>(
      `SELECT * FROM eval_run WHERE eval_id = $1 AND ($2::text IS NULL OR
         (created_at, id) ${order === 'asc' ? '>' : '<'} (SELECT created_at, id FROM eval_run WHERE id = $2))
         AND ($4::text IS NULL OR status = $4) ORDER BY created_at ${order}, id ${order} LIMIT $3`,
      [evalId, after, limit + 1, status],
    );
    const shown = await this.shown(of, rows);
    return pageOf(shown, limit, (run) => run);
  }

  async get(caller: Principal, evalId: string, id: string): Promise<Shown> {
    const of = await this.evals.row(caller, evalId);
    const [run] = await this.shown(of, [await this.row(caller, evalId, id)]);
    return run!;
  }

  private async shown(of: Eval, runs: readonly EvalRun[]): Promise<Shown[]> {
    const criteria = of.testing_criteria.map((one) => String(one['name']));
    const counts = await this.items.counts(runs.map(({ id }) => ({ id, criteria })));
    return runs.map((run) => runObject(run, counts.get(run.id)!));
  }

  /** Cancels a run. Grades so far are kept. */
  async cancel(caller: Principal, evalId: string, id: string): Promise<Shown> {
    const { job_id: job } = await this.row(caller, evalId, id);
    await this.database.transaction(async (manager) => {
      const changed = await this.database.query(
        `UPDATE eval_run SET status = 'canceled', owner = NULL, owner_until = NULL
         WHERE id = $1 AND status IN ('queued', 'in_progress') RETURNING id`,
        [id],
        manager,
      );
      if (changed.length === 0) return;
      await this.audit.write(manager, { caller, action: 'eval_run.canceled', target: id });
      const { projectId } = caller;
      await this.webhooks.write(manager, { type: 'eval.run.canceled', projectId, target: id });
      await this.sweeps.runsEnded(manager, [job]);
    });
    this.runner.stop(id);
    return this.get(caller, evalId, id);
  }

  async remove(caller: Principal, evalId: string, id: string): Promise<object> {
    const { job_id: job } = await this.row(caller, evalId, id);
    await this.database.transaction(async (manager) => {
      await this.database.query('DELETE FROM eval_run WHERE id = $1', [id], manager);
      await this.database.query('DELETE FROM eval_item WHERE run_id = $1', [id], manager);
      await this.sweeps.runsEnded(manager, [job]);
      await this.audit.write(manager, { caller, action: 'eval_run.deleted', target: id });
    });
    this.runner.stop(id);
    return { object: 'eval.run.deleted', deleted: true, run_id: id };
  }

  async outputItems(
    caller: Principal,
    evalId: string,
    id: string,
    query: Query,
  ): Promise<Page<ReturnType<typeof itemObject>>> {
    const run = await this.row(caller, evalId, id);
    const { limit, after } = pageQuery(query, 20, 100);
    const descending = oneOf(query, 'order', ['asc', 'desc']) === 'desc';
    const status =
      query['status'] === undefined ? null : oneOf(query, 'status', ['pass', 'fail', 'error']);
    const from = after === null ? null : itemNumber(id, after);
    if (after !== null && from === null) throw noItem(after, 'after');
    const page = { after: from, limit: limit + 1, status, descending };
    return pageOf(await this.items.done(id, page), limit, (item) => itemObject(item, run));
  }

  async outputItem(
    caller: Principal,
    evalId: string,
    id: string,
    item: string,
  ): Promise<ReturnType<typeof itemObject>> {
    const run = await this.row(caller, evalId, id);
    const number = itemNumber(id, item);
    const found = number === null ? null : await this.items.one(id, number);
    if (!found) throw noItem(item, 'output_item_id');
    return itemObject(found, run);
  }

  private async row(
    caller: Principal,
    evalId: string,
    id: string,
    param = 'run_id',
  ): Promise<EvalRun> {
    const found = await this.database.manager
      .getRepository(EvalRun)
      .findOneBy({ id, eval_id: evalId, project_id: caller.projectId });
    if (!found) throw new DomainError('not_found', `No such Run: ${id.slice(0, 60)}`, param);
    return found;
  }
}

const STATUSES = ['queued', 'in_progress', 'completed', 'canceled', 'failed'] as const;

const tooLarge = (bytes: number): DomainError =>
  new DomainError(
    'invalid_value',
    `data_source.source.id: expected at most ${MOST_BYTES} bytes, got ${bytes}`,
    'data_source.source.id',
  );

const noItem = (id: string, param: string): DomainError =>
  new DomainError('not_found', `No such OutputItem: ${id.slice(0, 60)}`, param);
