import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/** Jobs of a project that may wait at once: what the service is built and measured for. */
const MAX_QUEUED_JOBS = 10_000;
/** A count is good for so long, with what was admitted since. */
const GOOD_MS = 1_000;
/** Projects whose counts are kept. */
const KEPT = 500;

interface Depth {
  readonly at: number;
  queued: number;
}

/**
 * How many jobs of each project wait. Counting thousands at each creation costs more than the rest of it, and a count
 * of a second ago does no harm: what another API process admitted meanwhile goes over the bound by that much, which is
 * there for the machine's sake. A project's own limit (`queued_jobs`) is counted exactly (Quotas), and so is whoever
 * is to be refused.
 */
@Injectable()
export class QueueDepths {
  private readonly known = new Map<string, Depth>();

  constructor(private readonly database: Database) {}

  /** @throws DomainError where as many wait as may */
  async admit(manager: EntityManager, projectId: string): Promise<void> {
    let depth = this.known.get(projectId);
    if (!depth || performance.now() - depth.at > GOOD_MS || depth.queued >= MAX_QUEUED_JOBS)
      depth = await this.count(manager, projectId);
    if (depth.queued >= MAX_QUEUED_JOBS)
      throw new DomainError(
        'queue_full',
        `${MAX_QUEUED_JOBS} jobs are already queued; wait until some have started`,
        null,
        60,
      );
    depth.queued++;
  }

  private async count(manager: EntityManager, projectId: string): Promise<Depth> {
    const at = performance.now();
    const [row] = await this.database.query<{ queued: number }>(
      `SELECT count(*)::int AS queued FROM job WHERE project_id = $1 AND state = 'queued'`,
      [projectId],
      manager,
    );
    const depth = { at, queued: row?.queued ?? 0 };
    this.known.delete(projectId);
    this.known.set(projectId, depth);
    const [oldest] = this.known.keys();
    if (this.known.size > KEPT && oldest !== undefined) this.known.delete(oldest);
    return depth;
  }
}
