import { Injectable } from '@nestjs/common';
import { DomainError, parseBody, type Page } from '@graft/contracts';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Eval } from '../database/entities/evals.js';
import { jsonbText } from '../database/jsonb.js';
import { GradersService } from '../graders/graders.service.js';
import { oneOf, pageOf, pageQuery } from '../http/parse.js';
import { newId } from '../ids.js';
import { DefaultNames, nameStem } from '../lifecycle/default-names.js';
import { SweepEnds } from '../lifecycle/sweep-ends.js';
import { CreateEvalBody, UpdateEvalBody } from './eval-body.js';
import { evalObject } from './eval-objects.js';
import { EvalRunner } from './eval-runner.js';
import { checkSchemaInThread } from './item-schemas.js';

type Shown = ReturnType<typeof evalObject>;
type Query = Record<string, unknown>;

@Injectable()
export class EvalsService {
  constructor(
    private readonly database: Database,
    private readonly audit: Audit,
    private readonly graders: GradersService,
    private readonly runner: EvalRunner,
    private readonly sweeps: SweepEnds,
    private readonly names: DefaultNames,
  ) {}

  async create(caller: Principal, body: unknown): Promise<Shown> {
    const { name: given, metadata, ...asked } = parseBody(CreateEvalBody, body);
    await checkSchemaInThread({
      project: caller.projectId,
      schema: asked.data_source_config.item_schema,
      param: 'data_source_config.item_schema',
      items: null,
    });
    for (const [i, criterion] of asked.testing_criteria.entries())
      await this.graders.check(caller, criterion, `testing_criteria.${i}`);
    const id = newId('eval_');
    const [criterion] = asked.testing_criteria;
    await this.database.transaction(async (manager) => {
      const stem = `${nameStem(criterion?.name ?? '', 'graded')}-eval`;
      const name = given || (await this.names.next(manager, caller.projectId, { stem }));
      await this.database.query(
        `INSERT INTO eval (id, project_id, name, data_source_config, testing_criteria, metadata)
         VALUES ($1, $2, $3, $4::jsonb, $5::jsonb, $6::jsonb) ON CONFLICT DO NOTHING`,
        [
          id,
          caller.projectId,
          name,
          jsonbText(asked.data_source_config),
          jsonbText(asked.testing_criteria),
          jsonbText(metadata ?? {}),
        ],
        manager,
      );
      await this.audit.write(manager, { caller, action: 'eval.created', target: id });
    });
    return this.get(caller, id);
  }

  async list(caller: Principal, query: Query): Promise<Page<Shown>> {
    const { limit, after } = pageQuery(query, 20, 100);
    const by = oneOf(query, 'order_by', ['created_at', 'updated_at']);
    const order = oneOf(query, 'order', ['asc', 'desc']);
    if (after) await this.row(caller, after, 'after');
    const rows = await this.database.query<Eval>(
      `SELECT * FROM eval WHERE project_id = $1 AND ($2::text IS NULL OR
         (${by}, id) ${order === 'asc' ? '>' : '<'} (SELECT ${by}, id FROM eval WHERE id = $2))
       ORDER BY ${by} ${order}, id ${order} LIMIT $3`,
      [caller.projectId, after, limit + 1],
    );
    return pageOf(rows, limit, evalObject);
  }

  async get(caller: Principal, id: string): Promise<Shown> {
    return evalObject(await this.row(caller, id));
  }

  async update(caller: Principal, id: string, body: unknown): Promise<Shown> {
    const { name, metadata } = parseBody(UpdateEvalBody, body);
    await this.row(caller, id);
    await this.database.transaction(async (manager) => {
      await this.database.query(
        `UPDATE eval SET name = COALESCE($3, name), metadata = COALESCE($4::jsonb, metadata),
           updated_at = clock_timestamp() WHERE id = $1 AND project_id = $2`,
        [id, caller.projectId, name ?? null, metadata ? jsonbText(metadata) : null],
        manager,
      );
      await this.audit.write(manager, { caller, action: 'eval.updated', target: id });
    });
    return this.get(caller, id);
  }

  /** Deletes an eval and its runs. */
  async remove(caller: Principal, id: string): Promise<object> {
    await this.row(caller, id);
    const runs = await this.database.transaction(async (manager) => {
      // A new run locks this row too.
      await this.database.query('SELECT 1 FROM eval WHERE id = $1 FOR UPDATE', [id], manager);
      const gone = await this.database.query<{ id: string; job_id: string | null }>(
        'DELETE FROM eval_run WHERE eval_id = $1 RETURNING id, job_id',
        [id],
        manager,
      );
      await this.database.query(
        'DELETE FROM eval_item WHERE run_id = ANY($1)',
        [gone.map((run) => run.id)],
        manager,
      );
      await this.database.query('DELETE FROM eval WHERE id = $1', [id], manager);
      await this.sweeps.runsEnded(
        manager,
        gone.map((run) => run.job_id),
      );
      await this.audit.write(manager, { caller, action: 'eval.deleted', target: id });
      return gone;
    });
    for (const run of runs) this.runner.stop(run.id);
    return { object: 'eval.deleted', deleted: true, eval_id: id };
  }

  /** Returns the row of an eval. Evals of other projects are not found. */
  async row(caller: Principal, id: string, param = 'eval_id'): Promise<Eval> {
    const found = await this.database.manager
      .getRepository(Eval)
      .findOneBy({ id, project_id: caller.projectId });
    if (!found) throw new DomainError('not_found', `No such Eval: ${id.slice(0, 60)}`, param);
    return found;
  }
}
