import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/**
 * SQL that holds where a project may use a pool: it is open, or granted to the project. A pool that nobody has named
 * yet is open; to an archived project none is. Both are expressions: a column, or a placeholder.
 */
export const poolAllowed = (pool: string, project: string): string =>
  `(NOT EXISTS (SELECT 1 FROM project gone WHERE gone.id = ${project} AND gone.archived_at IS NOT NULL)
   AND NOT EXISTS (SELECT 1 FROM pool closed WHERE closed.name = ${pool} AND NOT closed.open AND NOT EXISTS (
     SELECT 1 FROM pool_grant WHERE pool_grant.pool = closed.name AND pool_grant.project_id = ${project})))`;

/** The code of that warning. */
export const POOL_NEVER_JOINED = 'pool_never_joined';

/** What is said of a pool that does not exist; jobs may wait there. */
export function neverJoined(pool: string, others: readonly string[]): string {
  const wayOut =
    others.length > 0
      ? `The project may use ${others.length === 1 ? 'pool' : 'pools'} ${others.join(', ')}`
      : 'There is no pool yet that the project may use';
  return `No worker has ever joined pool ${pool}: a job waits there until one does. ${wayOut}`;
}

/** Which pools there are, and whose jobs and chats they take. */
@Injectable()
export class Pools {
  constructor(private readonly database: Database) {}

  /** Makes a pool that is named for the first time: by a worker that joins, a token or a grant. It is open. */
  async ensure(name: string, manager: EntityManager = this.database.manager): Promise<void> {
    await this.database.query(
      'INSERT INTO pool (name) VALUES ($1) ON CONFLICT (name) DO NOTHING',
      [name],
      manager,
    );
  }

  /** Names of the pools that a project may use, of those that there are. */
  async allowed(
    projectId: string,
    manager: EntityManager = this.database.manager,
  ): Promise<string[]> {
    const rows = await this.database.query<{ name: string }>(
      `SELECT name FROM pool WHERE ${poolAllowed('pool.name', '$1')} ORDER BY name`,
      [projectId],
      manager,
    );
    return rows.map(({ name }) => name);
  }

  /** Of each pool that trials of a sweep wait in and no worker has ever joined, what is to be said of it. */
  async neverJoinedBy(projectId: string, sweep: string): Promise<string[]> {
    const rows = await this.database.query<{ pool: string }>(
      `SELECT DISTINCT pool FROM job WHERE sweep_id = $1 AND state = 'queued' AND deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = job.pool) ORDER BY pool`,
      [sweep],
    );
    if (rows.length === 0) return [];
    const others = await this.allowed(projectId);
    return rows.map(({ pool }) => neverJoined(pool, others));
  }

  /** What a project is told that may not use a pool: which ones it may. */
  async refusal(projectId: string, pool: string, parameter: string): Promise<DomainError> {
    const others = await this.allowed(projectId);
    const wayOut =
      others.length > 0
        ? `it may use ${others.join(', ')}`
        : 'it may use none; ask an administrator for a grant';
    return new DomainError('not_found', `this project has no pool ${pool}; ${wayOut}`, parameter);
  }
}
