import { Injectable } from '@nestjs/common';
import { poolAllowed } from '../../auth/pools.js';
import { Settings } from '../../config.js';
import { WorkerDatabase } from '../../database/database.js';
import { selectFitWorker } from './fit-worker.js';
import type { LeaseHolder, LeasedJob } from './lease.js';
import { IS_DUE, nextJobs, RUNNING_LIMIT } from './next-job.js';
import { WakeUps } from '../../wake/wake-ups.js';

/** Maximum number of jobs per batch. */
const AT_ONCE = 32;

/** A job to assign, as it was when the order was read. */
export interface NextJob {
  readonly id: string;
  readonly attempt: number;
  readonly base_id: string;
  /**
   * Whether its project has a limit of running jobs. They are counted under a lock, so such jobs are
   * assigned one at a time.
   */
  readonly limited: boolean;
  readonly schema_version: number;
}

export interface Pair<Worker> {
  readonly job: NextJob;
  readonly worker: Worker;
}

/**
 * Takes several leases in one statement if many jobs are queued and many slots are free. The order is that
 * of docs/adr/0016: each job of a project counts as running for its later jobs, so the first N of an order
 * are the next N. Where more than the order decides, Leases.take assigns a single job.
 */
@Injectable()
export class LeaseBatch {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
    private readonly wakeUps: WakeUps,
  ) {}

  /** The next jobs of a pool, in order. */
  next(pool: string): Promise<NextJob[]> {
    return this.database.query<NextJob>(
      `SELECT id, attempt, base_id, limited, schema_version FROM (${nextJobs('$1', AT_ONCE)}) AS next ORDER BY place LIMIT ${AT_ONCE}`,
      [pool],
    );
  }

  /**
   * Takes leases in one statement. Skips a pair if its job has changed or may not start, or if its worker
   * is not fit or has no free slot. As in Leases.take, the rows of the workers are locked first, in the
   * order of their ids.
   */
  async take<Worker extends LeaseHolder>(
    pool: string,
    pairs: readonly Pair<Worker>[],
  ): Promise<{ taken: LeasedJob; worker: Worker }[]> {
    const rows = await this.database.query<LeasedJob & { nth: string }>(
      `WITH workers AS (
         SELECT id, free_slots FROM worker
         WHERE id = ANY($4) AND state = 'online' AND NOT cordoned ORDER BY id FOR UPDATE
       ), wanted AS (
         SELECT pair.*, workers.free_slots,
           row_number() OVER (PARTITION BY pair.worker_id ORDER BY pair.nth) AS slot
         FROM unnest($2::text[], $3::int[], $4::text[], $5::text[], $6::text[])
           WITH ORDINALITY AS pair(job_id, attempt, worker_id, session_id, name, nth)
         JOIN workers ON workers.id = pair.worker_id
         WHERE EXISTS (${selectFitWorker('pair.worker_id', 'pair.session_id', '$7')})
           AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = $1 AND pool.cordoned)
       ), taken AS (
         UPDATE job SET attempt = job.attempt + 1, state = 'running', lease_owner = wanted.worker_id, passed_over = 0,
           preempting_at = NULL, lease_until = clock_timestamp() + $7 * interval '1 millisecond',
           updated_at = clock_timestamp(), started_at = COALESCE(started_at, clock_timestamp()),
           phase_code = 'assigned', phase_message = 'Assigned to worker ' || wanted.name
         FROM wanted, project
         WHERE job.id = wanted.job_id AND job.attempt = wanted.attempt AND job.pool = $1 AND ${IS_DUE}
           AND wanted.slot <= wanted.free_slots AND project.id = job.project_id AND ${RUNNING_LIMIT} IS NULL
           AND ${poolAllowed('$1', 'project.id')}
         RETURNING wanted.nth, wanted.worker_id, wanted.name, job.id, job.project_id, job.attempt, spec, job.base_id,
           training_file, validation_file, init_adapter, present_at_deaths
       ), opened AS (
         INSERT INTO attempt (job_id, number, worker_id, worker_name) SELECT id, attempt, worker_id, name FROM taken
       ), slot AS (
         UPDATE worker SET free_slots = worker.free_slots - given.jobs
         FROM (SELECT worker_id, count(*)::int AS jobs FROM taken GROUP BY worker_id) AS given
         WHERE worker.id = given.worker_id
       )
       SELECT * FROM taken ORDER BY nth`,
      [
        pool,
        pairs.map(({ job }) => job.id),
        pairs.map(({ job }) => job.attempt),
        pairs.map(({ worker }) => worker.workerId),
        pairs.map(({ worker }) => worker.sessionId),
        pairs.map(({ worker }) => worker.name),
        this.settings.leaseMs,
      ],
    );
    return rows.flatMap((taken) => {
      this.wakeUps.announce(`job:${taken.id}`, `project:${taken.project_id}`);
      const pair = pairs[Number(taken.nth) - 1];
      return pair ? [{ taken, worker: pair.worker }] : [];
    });
  }
}

/**
 * Assigns jobs to workers in order: to a worker that holds the job's base, otherwise to the one with the
 * most free slots, then by id. Stops where the order alone does not decide: before a job whose project has
 * a limit, before a job with a higher schema version than its worker, and where a job whose base the worker
 * holds may pass this one.
 */
export function match<
  Worker extends LeaseHolder & { readonly freeSlots: number; readonly schemaVersion: number },
>(jobs: readonly NextJob[], workers: readonly Worker[]): Pair<Worker>[] {
  const slots = workers.map((worker) => ({ worker, free: worker.freeSlots }));
  const pairs: Pair<Worker>[] = [];
  for (const job of jobs) {
    const holds = ({ worker }: { worker: Worker }): boolean =>
      worker.residentBases.includes(job.base_id);
    const best = slots
      .filter(({ free }) => free > 0)
      .reduce<(typeof slots)[number] | null>((best, one) => {
        if (best === null) return one;
        if (holds(best) !== holds(one)) return holds(one) ? one : best;
        if (best.free !== one.free) return one.free > best.free ? one : best;
        return one.worker.workerId < best.worker.workerId ? one : best;
      }, null);
    if (best === null || job.limited || job.schema_version > best.worker.schemaVersion) break;
    if (!holds(best) && best.worker.residentBases.length > 0) break;
    best.free--;
    pairs.push({ job, worker: best.worker });
  }
  return pairs;
}
