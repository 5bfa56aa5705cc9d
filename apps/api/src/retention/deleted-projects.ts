import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import { IS_DUE } from '../database/entities/tenancy.js';
import { log } from '../log.js';
import { DeletedJobs } from './deleted-jobs.js';

/** Rows that one statement deletes: a million of them would take longer than a statement may. */
const ROWS = 500;
/** Rows with parts that one look takes. */
const OWNERS = 50;
/** Rows of the audit log that one statement reads. */
const AUDIT_ROWS = 5000;

/** What has parts in another table: the ids of project $1, and the table and column that name such an id. */
interface WithParts {
  readonly table: string;
  readonly ids: string;
  readonly parts: readonly [table: string, column: string];
}

const WITH_PARTS: readonly WithParts[] = [
  {
    table: 'eval_run',
    // There is an index of an eval's runs, and none of a project's.
    ids: 'SELECT eval_run.id FROM eval JOIN eval_run ON eval_run.eval_id = eval.id WHERE eval.project_id = $1',
    parts: ['eval_item', 'run_id'],
  },
  {
    table: 'webhook_endpoint',
    ids: 'SELECT id FROM webhook_endpoint WHERE project_id = $1',
    parts: ['webhook_delivery', 'endpoint_id'],
  },
  {
    table: 'upload',
    ids: 'SELECT id FROM upload WHERE project_id = $1',
    parts: ['upload_part', 'upload_id'],
  },
  {
    table: 'sweep',
    ids: 'SELECT id FROM sweep WHERE project_id = $1',
    parts: ['sweep_rung', 'sweep_id'],
  },
];

/** What names its project. The sums of what it stores come last: triggers write them as the others go. */
const OF_PROJECT = [
  'eval',
  'eval_run',
  'sweep',
  'upload',
  'webhook_endpoint',
  'file',
  'model',
  'integration_run',
  'integration',
  'idempotency',
  'usage',
  'pool_use',
  'pool_grant',
  'chat_turn',
  'answer',
  'project_blob',
  'storage_change',
];

/** What of its keys and itself has a row. The audit log stays. */
const LAST = [
  'DELETE FROM bucket WHERE key_id = $1 OR key_id IN (SELECT id FROM api_key WHERE project_id = $1)',
  'DELETE FROM api_key WHERE project_id = $1',
  'DELETE FROM member WHERE project_id = $1',
];

/** How far a project is deleted. */
interface Progress {
  readonly project: string;
  /** What is not done yet, in order. Each deletes some rows and answers whether there may be more of the kind. */
  readonly left: (() => Promise<boolean>)[];
  /** The row of the audit log up to which names are gone. */
  auditId: string;
}

/**
 * Deletes the rows of projects that can no longer be restored, some at a time, the project's own row last: what a
 * process leaves unfinished, the next one goes on with. The bytes follow once no row names them.
 */
@Injectable()
export class DeletedProjects implements OnModuleDestroy {
  /** Those that could not be deleted; the next round tries them again. */
  private readonly stuck = new Set<string>();
  /** Of the project that the last round was about. */
  private progress: Progress | null = null;
  private closing = false;

  constructor(
    private readonly database: Database,
    private readonly jobs: DeletedJobs,
    private readonly audit: Audit,
  ) {}

  /** A part of one project; answers with how many projects are gone, and whether there may be more to do. */
  async batch(): Promise<{ deleted: number; more: boolean }> {
    const [project] = await this.database.query<{ id: string }>(
      `SELECT id FROM project WHERE ${IS_DUE} AND id <> ALL($1)
         AND NOT EXISTS (SELECT 1 FROM job WHERE job.project_id = project.id AND ${IS_OPEN})
       ORDER BY deletes_at LIMIT 1`,
      [[...this.stuck]],
    );
    if (!project || this.closing) {
      this.stuck.clear();
      this.progress = null;
      return { deleted: 0, more: false };
    }
    if (this.progress?.project !== project.id) this.progress = this.begun(project.id);
    try {
      const gone = !(await this.dropSome(this.progress)) && (await this.dropRest(this.progress));
      return { deleted: gone ? 1 : 0, more: true };
    } catch (error) {
      this.stuck.add(project.id);
      this.progress = null;
      log.warn({ err: error, project: project.id }, 'could not delete a project; retrying later');
      return { deleted: 0, more: true };
    }
  }

  onModuleDestroy(): void {
    this.closing = true;
  }

  private begun(project: string): Progress {
    const progress: Progress = {
      project,
      left: [
        async () => (await this.jobs.ofProject(project)) > 0,
        ...WITH_PARTS.map((one) => () => this.dropOwners(one, project)),
        ...OF_PROJECT.map(
          (table) => async () => (await this.dropRows(table, 'project_id', project)) === ROWS,
        ),
        () => this.forgetNames(progress),
      ],
      auditId: '0',
    };
    return progress;
  }

  /** Goes on where the last round stopped; answers whether there is anything left to do. */
  private async dropSome({ left }: Progress): Promise<boolean> {
    for (let [next] = left; next; [next] = left) {
      if (await next()) return true;
      left.shift();
    }
    return false;
  }

  private async dropOwners({ table, ids, parts }: WithParts, id: string): Promise<boolean> {
    const owners = await this.database.query<{ id: string }>(`${ids} LIMIT ${OWNERS}`, [id]);
    for (const owner of owners) await this.dropOwner(table, owner.id, parts);
    return owners.length > 0;
  }

  /** The audit log stays, without the names of people and keys. Answers whether there are more rows to look at. */
  private async forgetNames(progress: Progress, manager?: EntityManager): Promise<boolean> {
    const [page] = await this.database.query<{ rows: number; last: string | null }>(
      `WITH page AS (
         SELECT id, action, detail FROM audit WHERE project_id = $1 AND id > $2 ORDER BY id LIMIT ${AUDIT_ROWS}
       ), forgotten AS (
         UPDATE audit SET detail = audit.detail - 'name' FROM page
         WHERE audit.id = page.id AND page.action ~ '^(user|api_key)[.]' AND page.detail ? 'name'
       )
       SELECT count(*)::int AS rows, max(id) AS last FROM page`,
      [progress.project, progress.auditId],
      manager,
    );
    progress.auditId = page?.last ?? progress.auditId;
    return page?.rows === AUDIT_ROWS;
  }

  private async dropOwner(
    table: string,
    id: string,
    [parts, column]: readonly [string, string],
  ): Promise<void> {
    while ((await this.dropRows(parts, column, id)) === ROWS) if (this.closing) return;
    await this.database.transaction(async (manager) => {
      await this.database.query(`DELETE FROM ${table} WHERE id = $1`, [id], manager);
      // What came since.
      await this.database.query(`DELETE FROM ${parts} WHERE ${column} = $1`, [id], manager);
    });
  }

  /** Answers with how many went. */
  private async dropRows(table: string, column: string, id: string): Promise<number> {
    const [gone] = await this.database.query<{ rows: number }>(
      `WITH gone AS (DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM ${table} WHERE ${column} = $1 LIMIT ${ROWS})) RETURNING 1)
       SELECT count(*)::int AS rows FROM gone`,
      [id],
    );
    return gone?.rows ?? 0;
  }

  /** Under the project's lock: what came since, its keys and members, and the project itself. */
  private dropRest(progress: Progress): Promise<boolean> {
    const { project: id } = progress;
    return this.database.transaction(async (manager) => {
      const [project] = await this.database.query<{ name: string }>(
        `SELECT name FROM project WHERE id = $1 AND ${IS_DUE} FOR UPDATE`,
        [id],
        manager,
      );
      // Another process was faster.
      if (!project) return false;
      for (const { ids, parts } of WITH_PARTS)
        await this.database.query(
          `DELETE FROM ${parts[0]} WHERE ${parts[1]} IN (${ids})`,
          [id],
          manager,
        );
      for (const table of OF_PROJECT)
        await this.database.query(`DELETE FROM ${table} WHERE project_id = $1`, [id], manager);
      for (const statement of LAST) await this.database.query(statement, [id], manager);
      // The transaction may be tried again, and begins at the same row then.
      const rest = { ...progress };
      while (await this.forgetNames(rest, manager));
      await this.told(manager, id, project.name);
      await this.database.query('DELETE FROM project WHERE id = $1', [id], manager);
      return true;
    });
  }

  private told(manager: EntityManager, id: string, name: string): Promise<void> {
    return this.audit.write(manager, {
      caller: null,
      action: 'project.deleted',
      target: id,
      detail: { name },
      projectId: id,
    });
  }
}
