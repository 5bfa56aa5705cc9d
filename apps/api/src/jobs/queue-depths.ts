import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/** Maximum number of queued jobs of a project, up to which the service is designed and measured. */
const MAX_QUEUED_JOBS = 10_000;
/** Lifetime of a count, which includes the jobs admitted since. */
const GOOD_MS = 1_000;
/** Projects whose counts are cached. */
const KEPT = 500;

interface Depth {
  readonly at: number;
  queued: number;
}

/**
 * Cached numbers of queued jobs by project. Counting thousands of jobs costs more than the rest of a job's
 * creation. A count that is one second old is accurate enough: the limit protects the machine, and other
 * API processes may exceed it by what they admit in that time. Quotas counts a project's own limit
 * (`queued_jobs`) exactly, and a job is rejected only after a new count.
 */
@Injectable()
export class QueueDepths {
  private readonly known = new Map<string, Depth>();

  constructor(private readonly database: Database) {}

  /** @throws DomainError if the maximum number of jobs is queued */
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
