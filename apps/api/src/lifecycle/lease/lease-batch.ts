import { Injectable } from '@nestjs/common';
import { poolAllowed } from '../../auth/pools.js';
import { Settings } from '../../config.js';
import { WorkerDatabase } from '../../database/database.js';
import { fitWorker } from './fit-worker.js';
import type { LeaseHolder, Taken } from './lease.js';
import { IS_DUE, nextJobs, RUNNING_LIMIT } from './next-job.js';
import { WakeUps } from '../../wake/wake-ups.js';

/** Jobs that are given at once. */
const AT_ONCE = 32;

/** A job that is to be given, as it stood when the order was asked for. */
export interface NextJob {
  readonly id: string;
  readonly attempt: number;
  readonly base_id: string;
  /** Its project has a limit of running jobs, which is counted under a lock: one at a time. */
  readonly limited: boolean;
  readonly schema_version: number;
}

export interface Pair<Worker> {
  readonly job: NextJob;
  readonly worker: Worker;
}

/**
 * Several leases at once, where many jobs wait and many slots are free. The order stays that of docs/adr/0016: each
 * job of a project counts as running for those after it, so that the first N of an order are the next N. Where more
 * decides than the order, Leases.take gives one.
 */
@Injectable()
export class LeaseBatch {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
    private readonly wakeUps: WakeUps,
  ) {}

  /** The jobs that a pool is to give next, in order. */
  next(pool: string): Promise<NextJob[]> {
    return this.database.query<NextJob>(
      `SELECT id, attempt, base_id, limited, schema_version FROM (${nextJobs('$1', AT_ONCE)}) AS next ORDER BY place LIMIT ${AT_ONCE}`,
      [pool],
    );
  }

  /**
   * Takes leases, each if its job still stands as it did and may start, and its worker is fit and has a slot. One
   * statement, as Leases.take: the workers' rows are locked first, in the order of their ids.
   */
  async take<Worker extends LeaseHolder>(
    pool: string,
    pairs: readonly Pair<Worker>[],
  ): Promise<{ taken: Taken; worker: Worker }[]> {
    const rows = await this.database.query<Taken & { nth: string }>(
      `WITH workers AS (
         SELECT id, free_slots FROM worker
         WHERE id = ANY($4) AND state = 'online' AND NOT cordoned ORDER BY id FOR UPDATE
       ), wanted AS (
         SELECT pair.*, workers.free_slots,
           row_number() OVER (PARTITION BY pair.worker_id ORDER BY pair.nth) AS slot
         FROM unnest($2::text[], $3::int[], $4::text[], $5::text[], $6::text[])
           WITH ORDINALITY AS pair(job_id, attempt, worker_id, session_id, name, nth)
         JOIN workers ON workers.id = pair.worker_id
         WHERE EXISTS (${fitWorker('pair.worker_id', 'pair.session_id', '$7')})
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
 * Which worker is given which of the jobs, one after the other: one that holds the job's base, else the one with most
 * free slots, then by id. It ends where the order alone does not decide: before a job whose project has a limit or whose
 * schema version is higher than the worker's, and where a job of a base that the worker holds may pass this one.
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
