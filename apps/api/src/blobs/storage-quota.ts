import { Injectable } from '@nestjs/common';
import { DomainError, type ProjectLimits } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/** Number of a project's changes above which they are summed. */
const MOST_CHANGES = 100;

/**
 * Bytes of a project's files, checkpoints and results (`storage_bytes`). Each content counts once, regardless
 * of how many rows reference it. Items of eval runs count, except for evals of checkpoints, and stored responses. Base models are
 * shared and count for no project.
 */
@Injectable()
export class StorageQuota {
  constructor(private readonly database: Database) {}

  async used(projectId: string, manager?: EntityManager): Promise<number> {
    const [row] = await this.database.query<{ used: string }>(
      'SELECT COALESCE(sum(bytes), 0) AS used FROM storage_change WHERE project_id = $1',
      [projectId],
      manager,
    );
    return Number(row?.used ?? 0);
  }

  /**
   * Checks the quota before the first of `bytes` bytes.
   * @returns a function that throws the same error once the received bytes exceed the quota
   * @throws DomainError insufficient_quota
   */
  async guard(projectId: string, bytes: number): Promise<(bytes: number) => void> {
    const limit = await this.limit(projectId);
    if (limit === null) return () => undefined;
    const used = await this.used(projectId);
    const within = (came: number): void => {
      if (used + came > limit) throw exceeded({ limit, used, bytes: came });
    };
    within(bytes);
    return within;
  }

  /**
   * Checks the quota in the transaction that adds references to new blobs. It serializes such transactions of the
   * project.
   * @throws DomainError insufficient_quota
   */
  async enforce(manager: EntityManager, projectId: string): Promise<void> {
    if ((await this.limit(projectId, manager)) === null) return;
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`storage ${projectId}`],
      manager,
    );
    const limit = await this.limit(projectId, manager);
    const used = await this.used(projectId, manager);
    if (limit !== null && used > limit) throw exceeded({ limit, used, bytes: 0 });
  }

  /** Sums the changes of projects that have many. Concurrent calls produce the same sum. */
  async sumChanges(projects: number, most = MOST_CHANGES): Promise<void> {
    await this.database.query(
      `WITH many AS (
         SELECT project_id FROM storage_change GROUP BY project_id HAVING count(*) > $2 LIMIT $1
       ), gone AS (
         DELETE FROM storage_change WHERE project_id IN (SELECT project_id FROM many) RETURNING project_id, bytes
       )
       INSERT INTO storage_change (project_id, bytes) SELECT project_id, sum(bytes) FROM gone GROUP BY project_id`,
      [projects, most],
    );
  }

  private async limit(projectId: string, manager?: EntityManager): Promise<number | null> {
    const [row] = await this.database.query<{ limits: ProjectLimits }>(
      'SELECT limits FROM project WHERE id = $1',
      [projectId],
      manager,
    );
    return row?.limits.storage_bytes ?? null;
  }
}

const exceeded = (of: { limit: number; used: number; bytes: number }): DomainError => {
  const [limit, used, bytes] = [of.limit, of.used, of.bytes].map((n) => n.toLocaleString('en'));
  const more = of.bytes > 0 ? `and this needs ${bytes} more` : ' with this';
  return new DomainError(
    'insufficient_quota',
    `this project stores ${used} bytes${more}; its limit (storage_bytes) is ${limit}. Delete files, models, eval runs or responses that you no longer need`,
  );
};
