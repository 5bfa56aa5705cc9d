import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import { IS_DUE } from '../database/entities/tenancy.js';
import { log } from '../log.js';
import { DeletedJobs } from './deleted-jobs.js';

/** Maximum number of rows per statement. Deleting a million would exceed the time limit of a statement. */
const ROWS = 500;
/** Maximum number of rows with parts in another table per batch. */
const OWNERS = 50;
/** Maximum number of rows of the audit log per statement. */
const AUDIT_ROWS = 5000;

/**
 * A table whose rows have parts in another table: SQL that selects its ids of project $1, and the column of
 * the parts that references them.
 */
interface OwnerTable {
  readonly table: string;
  readonly ids: string;
  readonly parts: readonly [table: string, column: string];
}

const WITH_PARTS: readonly OwnerTable[] = [
  {
    table: 'eval_run',
    // eval_run has an index by eval but none by project.
    ids: 'SELECT eval_run.id FROM eval JOIN eval_run ON eval_run.eval_id = eval.id WHERE eval.project_id = $1',
    parts: ['eval_item', 'run_id'],
  },
  {
    table: 'batch',
    ids: 'SELECT id FROM batch WHERE project_id = $1',
    parts: ['batch_result', 'batch_id'],
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

/**
 * Tables with a project_id. storage_change is last, because triggers write to it when rows of other tables
 * are deleted.
 */
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
  'usage_hour',
  'name_counter',
  'pool_use',
  'pool_grant',
  'chat_turn',
  'answer',
  'response',
  'project_blob',
  'storage_change',
];

/** SQL that deletes the keys and members of project $1, and their rate limits. */
const LAST = [
  'DELETE FROM bucket WHERE key_id = $1 OR key_id IN (SELECT id FROM api_key WHERE project_id = $1)',
  'DELETE FROM api_key WHERE project_id = $1',
  'DELETE FROM member WHERE project_id = $1',
];

/** Progress of the deletion of a project. */
interface Progress {
  readonly project: string;
  /** The remaining steps, in order. Each deletes some rows and returns whether there may be more. */
  readonly left: (() => Promise<boolean>)[];
  /** Names were removed from the rows of the audit log up to this id. */
  auditId: string;
}

/**
 * Deletes the rows of projects that can no longer be restored, some at a time. The project's own row is
 * deleted last, so that another process can finish what this one leaves. Retention deletes the blobs once no
 * row references them.
 */
@Injectable()
export class DeletedProjects implements OnModuleDestroy {
  /** Projects that could not be deleted. The next run of Retention retries them. */
  private readonly stuck = new Set<string>();
  /** Progress of the project in the last batch. */
  private progress: Progress | null = null;
  private closing = false;

  constructor(
    private readonly database: Database,
    private readonly jobs: DeletedJobs,
    private readonly audit: Audit,
  ) {}

  /**
   * Deletes a part of one project. Returns how many projects were deleted, and whether there may be more to
   * do.
   */
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
    if (this.progress?.project !== project.id) this.progress = this.start(project.id);
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

  private start(project: string): Progress {
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

  /** Continues where the last batch stopped. Returns whether anything is left. */
  private async dropSome({ left }: Progress): Promise<boolean> {
    for (let [next] = left; next; [next] = left) {
      if (await next()) return true;
      left.shift();
    }
    return false;
  }

  private async dropOwners({ table, ids, parts }: OwnerTable, id: string): Promise<boolean> {
    const owners = await this.database.query<{ id: string }>(`${ids} LIMIT ${OWNERS}`, [id]);
    for (const owner of owners) await this.dropOwner(table, owner.id, parts);
    return owners.length > 0;
  }

  /**
   * Removes the names of users and keys from the audit log, whose rows are kept. Returns whether there are
   * more rows.
   */
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
      // Parts may have been added since.
      await this.database.query(`DELETE FROM ${parts} WHERE ${column} = $1`, [id], manager);
    });
  }

  /** Deletes some rows. Returns how many. */
  private async dropRows(table: string, column: string, id: string): Promise<number> {
    const [gone] = await this.database.query<{ rows: number }>(
      `WITH gone AS (DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM ${table} WHERE ${column} = $1 LIMIT ${ROWS})) RETURNING 1)
       SELECT count(*)::int AS rows FROM gone`,
      [id],
    );
    return gone?.rows ?? 0;
  }

  /**
   * Locks the project, and deletes rows that were added in the meantime, its keys, its members and the
   * project itself.
   */
  private dropRest(progress: Progress): Promise<boolean> {
    const { project: id } = progress;
    return this.database.transaction(async (manager) => {
      const [project] = await this.database.query<{ name: string }>(
        `SELECT name FROM project WHERE id = $1 AND ${IS_DUE} FOR UPDATE`,
        [id],
        manager,
      );
      // Another process has deleted the project.
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
      // A transaction that is retried must start at the same row.
      const rest = { ...progress };
      while (await this.forgetNames(rest, manager));
      await this.writeAudit(manager, id, project.name);
      await this.database.query('DELETE FROM project WHERE id = $1', [id], manager);
      return true;
    });
  }

  private writeAudit(manager: EntityManager, id: string, name: string): Promise<void> {
    return this.audit.write(manager, {
      caller: null,
      action: 'project.deleted',
      target: id,
      detail: { name },
      projectId: id,
    });
  }
}
