import { Injectable } from '@nestjs/common';
import { DomainError, type ProjectLimits } from '@graft/contracts';
import { neverJoinedWarning, poolAllowed, Pools } from '../auth/pools.js';
import { Database } from '../database/database.js';
import { memoryOf, type PoolMemory } from './pool-memory.js';

/** Limits of a project, and the memory of a pool. */
export interface PoolLimits extends PoolMemory {
  readonly limits: ProjectLimits;
  /** Warning about a pool that no worker has ever joined; null otherwise. */
  readonly neverJoined: string | null;
}

interface Row extends Omit<PoolLimits, 'neverJoined'> {
  readonly allowed: boolean;
  readonly exists: boolean;
}

/** Reads in one statement what a create call depends on in addition to what it names. */
@Injectable()
export class PoolTerms {
  constructor(
    private readonly database: Database,
    private readonly pools: Pools,
  ) {}

  /** @throws DomainError if the project cannot use the pool. The pool need not exist yet. */
  async of(projectId: string, pool: string, parameter: string): Promise<PoolLimits> {
    const [terms] = await this.database.query<Row>(
      `SELECT limits, ${poolAllowed('$2', '$1')} AS allowed, most, unknown,
         EXISTS (SELECT 1 FROM pool WHERE name = $2) AS exists
       FROM project, (${memoryOf('$2')}) AS workers WHERE project.id = $1`,
      [projectId, pool],
    );
    if (!terms) throw new DomainError('not_found', `no such project: ${projectId}`, 'project_id');
    if (!terms.allowed) throw await this.pools.notAllowedError(projectId, pool, parameter);
    const { exists, allowed: _, ...found } = terms;
    const others = exists ? [] : await this.pools.allowed(projectId);
    return { ...found, neverJoined: exists ? null : neverJoinedWarning(pool, others) };
  }
}
