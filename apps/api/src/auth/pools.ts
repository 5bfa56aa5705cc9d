import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/**
 * SQL condition that a project may use a pool: the project is not archived, and the pool is open or granted to the
 * project. A pool without a row is open.
 * @param pool SQL expression, such as a column or a placeholder
 * @param project SQL expression
 */
export const poolAllowed = (pool: string, project: string): string =>
  `(NOT EXISTS (SELECT 1 FROM project gone WHERE gone.id = ${project} AND gone.archived_at IS NOT NULL)
   AND NOT EXISTS (SELECT 1 FROM pool closed WHERE closed.name = ${pool} AND NOT closed.open AND NOT EXISTS (
     SELECT 1 FROM pool_grant WHERE pool_grant.pool = closed.name AND pool_grant.project_id = ${project})))`;

/** Code of the warning that {@link neverJoinedWarning} words. */
export const POOL_NEVER_JOINED = 'pool_never_joined';

/** Returns the warning that a pool does not exist yet. Jobs may wait in such a pool. */
export function neverJoinedWarning(pool: string, others: readonly string[]): string {
  const wayOut =
    others.length > 0
      ? `This project may use ${others.length === 1 ? 'pool' : 'pools'} ${others.join(', ')}`
      : 'This project cannot use any existing pool';
  return `No worker has ever joined pool ${pool}: jobs wait there until one does. ${wayOut}`;
}

/** Pools of workers and the projects that may use them. */
@Injectable()
export class Pools {
  constructor(private readonly database: Database) {}

  /** Creates an open pool if a worker, a token or a grant names it for the first time. */
  async ensure(name: string, manager: EntityManager = this.database.manager): Promise<void> {
    await this.database.query(
      'INSERT INTO pool (name) VALUES ($1) ON CONFLICT (name) DO NOTHING',
      [name],
      manager,
    );
  }

  /** Returns the names of the existing pools that a project may use. */
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

  /** Returns a warning for each pool that has queued trials of a sweep and that no worker has ever joined. */
  async neverJoinedWarnings(projectId: string, sweep: string): Promise<string[]> {
    const rows = await this.database.query<{ pool: string }>(
      `SELECT DISTINCT pool FROM job WHERE sweep_id = $1 AND state = 'queued' AND deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = job.pool) ORDER BY pool`,
      [sweep],
    );
    if (rows.length === 0) return [];
    const others = await this.allowed(projectId);
    return rows.map(({ pool }) => neverJoinedWarning(pool, others));
  }

  /** Returns the error for a project that may not use a pool, with the pools that it may use. */
  async notAllowedError(projectId: string, pool: string, parameter: string): Promise<DomainError> {
    const others = await this.allowed(projectId);
    const wayOut =
      others.length > 0
        ? `it may use ${others.join(', ')}`
        : 'it may use none; ask an administrator for a grant';
    return new DomainError('not_found', `this project has no pool ${pool}; ${wayOut}`, parameter);
  }
}
