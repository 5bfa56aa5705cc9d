import { Injectable } from '@nestjs/common';
import type { Spec } from '@graft/contracts';
import type { Lease } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { Settings } from '../../config.js';
import { WorkerDatabase } from '../../database/database.js';
import type { StoredFile } from '../../database/entities/storage.js';
import { selectFitWorker } from './fit-worker.js';
import { IS_DUE, nextJobs } from './next-job.js';
import { WakeUps } from '../../wake/wake-ups.js';

/** The worker that will own an attempt. */
export interface LeaseHolder {
  readonly workerId: string;
  readonly sessionId: string;
  readonly name: string;
  readonly pool: string;
  readonly residentBases: readonly string[];
}

export interface LeasedJob {
  readonly id: string;
  readonly project_id: string;
  readonly attempt: number;
  readonly spec: Spec;
  readonly base_id: string;
  readonly training_file: string | null;
  readonly validation_file: string | null;
  readonly init_adapter: readonly StoredFile[];
  readonly present_at_deaths: number;
}

/** Result of an attempt to take a lease. `id` is null if no lease was taken, `best` if no job may start. */
type Answer = {
  readonly fit: boolean;
  readonly free: boolean;
  readonly best: string | null;
  readonly limited: boolean;
} & (LeasedJob | { readonly id: null; readonly project_id: string | null });

export interface Renewal {
  readonly held: readonly Lease[];
  readonly lost: readonly Lease[];
  /** Held runs with a requested pause, and those that are preempted by a job of higher priority. */
  readonly pausing: readonly Lease[];
  readonly preempting: readonly Lease[];
  /** Held runs that must end at a step as if it were their last one. */
  readonly ending: readonly EndingAttempt[];
  /** Whether a held lease expires soon and could not be renewed because its job's row is locked. */
  readonly endsSoon: boolean;
}

export type EndingAttempt = Pick<Lease, 'jobId' | 'attempt'> & { readonly step: number };

/** Number of jobs per project that are searched for one whose base the worker holds. */
const WINDOW = 8;
/** Maximum number of jobs in a row that pass the first one because their base is loaded. */
const MOST_PASSES = 3;
/**
 * Retries when another process takes the chosen job. That process has then assigned a job, so there is
 * progress.
 */
const MOST_TRIES = 10;

/**
 * Leases: the ownership of attempts. All times are the database's; every statement names the attempt that
 * it depends on.
 */
@Injectable()
export class Leases {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly settings: Settings,
    private readonly wakeUps: WakeUps,
  ) {}

  /**
   * Whether a pool has queued jobs, including those that may not start now because of their project's
   * limit.
   */
  async hasQueued(pool: string): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM job WHERE pool = $1 AND ${IS_DUE} LIMIT 1`,
      [pool],
    );
    return rows.length > 0;
  }

  /** Takes the lease of the best job for a worker, if any job may start and the worker is fit. */
  async take(worker: LeaseHolder): Promise<LeasedJob | 'none' | 'unfit' | 'full'> {
    let limited: string | null = null;
    for (let n = 0; n < MOST_TRIES; n++) {
      const answer = await this.takeOnce(worker, limited);
      if (!answer.fit) return 'unfit';
      if (!answer.free) return 'full';
      if (answer.id !== null) {
        this.wakeUps.announce(`job:${answer.id}`, `project:${answer.project_id}`);
        return answer;
      }
      if (answer.best === null) return 'none';
      // For a project with a limit, retry with a count under the lock. Otherwise another process or the
      // job's owner was faster.
      limited = answer.limited ? answer.project_id : null;
    }
    return 'none';
  }

  /** Serializes leases of a project with a limit. Other leases run concurrently. */
  private takeOnce(worker: LeaseHolder, limited: string | null): Promise<Answer> {
    if (limited === null) return this.takeBest(worker, null);
    return this.database.transaction(async (manager) => {
      await this.database.query(
        'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
        [`running ${limited}`],
        manager,
      );
      return this.takeBest(worker, limited, manager);
    });
  }

  /**
   * Chooses a job, raises its attempt number, opens the attempt and takes the worker's slot in one
   * statement, or does nothing. Processes that serve the same pool wait for each other at the worker's row,
   * so no slot is assigned twice. A job whose base the worker holds may pass the first job of the same
   * priority up to MOST_PASSES times.
   */
  private async takeBest(
    worker: LeaseHolder,
    limited: string | null,
    manager?: EntityManager,
  ): Promise<Answer> {
    const [row] = await this.database.query<Answer>(
      `WITH fit AS (${selectFitWorker('$1', '$2', '$3')}),
       free AS (SELECT 1 FROM worker WHERE id = $1 AND free_slots > 0 AND state = 'online' AND NOT cordoned FOR UPDATE),
       waiting AS MATERIALIZED (${nextJobs('$4', WINDOW, '$1')}),
       first AS (SELECT * FROM waiting WHERE place = 1),
       best AS (
         SELECT waiting.* FROM waiting, first
         WHERE waiting.id = first.id OR (waiting.base_id = ANY($5) AND first.base_id <> ALL($5)
           AND waiting.priority = first.priority AND first.passed_over < ${MOST_PASSES})
         ORDER BY waiting.base_id = ANY($5) DESC, waiting.place LIMIT 1
       ), taken AS (
         UPDATE job SET attempt = job.attempt + 1, state = 'running', lease_owner = $1, passed_over = 0, preempting_at = NULL,
           lease_until = clock_timestamp() + $3 * interval '1 millisecond',
           updated_at = clock_timestamp(), started_at = COALESCE(started_at, clock_timestamp()),
           phase_code = 'assigned', phase_message = 'Assigned to worker ' || $6
         FROM best WHERE job.id = best.id AND job.attempt = best.attempt AND ${IS_DUE}
           AND (NOT best.limited OR best.project_id = $7) AND EXISTS (SELECT 1 FROM fit) AND EXISTS (SELECT 1 FROM free)
         RETURNING job.id, job.project_id, job.attempt, spec, job.base_id, training_file, validation_file, init_adapter,
           present_at_deaths
       ), passed AS (
         UPDATE job SET passed_over = job.passed_over + 1 FROM first, taken
         WHERE job.id = first.id AND job.attempt = first.attempt AND taken.id <> first.id
       ), opened AS (
         INSERT INTO attempt (job_id, number, worker_id, worker_name) SELECT id, attempt, $1, $6 FROM taken
       ), slot AS (
         UPDATE worker SET free_slots = free_slots - 1 FROM taken WHERE worker.id = $1
       )
       SELECT EXISTS (SELECT 1 FROM fit) AS fit, EXISTS (SELECT 1 FROM free) AS free, best.id AS best, best.limited, taken.*,
         COALESCE(taken.project_id, best.project_id) AS project_id
       FROM (SELECT 1) AS one LEFT JOIN best ON true LEFT JOIN taken ON true`,
      [
        worker.workerId,
        worker.sessionId,
        this.settings.leaseMs,
        worker.pool,
        worker.residentBases,
        worker.name,
        limited,
      ],
      manager,
    );
    if (!row) throw new Error('the database returned no row for a lease');
    return row;
  }

  /** Renews the leases that the worker still owns, in one statement. Other leases are lost. */
  async renew(workerId: string, leases: readonly Lease[]): Promise<Renewal> {
    if (leases.length === 0) return renewal([], []);
    const rows = await this.database.query<Renewed>(
      `WITH ${renewLeases()} SELECT * FROM renewed`,
      renewValues(workerId, leases, this.settings.leaseMs),
    );
    return renewal(leases, rows);
  }

  /** Shortens leases that end too late because the database's clock was set back. */
  async shorten(): Promise<void> {
    await this.database.query(
      `UPDATE job SET lease_until = clock_timestamp() + $1 * interval '1 millisecond'
       WHERE id IN (SELECT id FROM job WHERE state = 'running'
         AND lease_until > clock_timestamp() + 2 * $1 * interval '1 millisecond' FOR UPDATE SKIP LOCKED)`,
      [this.settings.leaseMs],
    );
  }

  /** Returns those of the attempts that must end at a step. */
  async ending(attempts: readonly Pick<Lease, 'jobId' | 'attempt'>[]): Promise<EndingAttempt[]> {
    if (attempts.length === 0) return [];
    return this.database.query<EndingAttempt>(
      `SELECT id AS "jobId", job.attempt, end_at_step AS step FROM job
       JOIN unnest($1::text[], $2::int[]) AS asked(job_id, attempt) ON id = asked.job_id AND job.attempt = asked.attempt
       WHERE state = 'running' AND end_at_step IS NOT NULL`,
      [attempts.map(({ jobId }) => jobId), attempts.map(({ attempt }) => attempt)],
    );
  }

  /** Returns those of a worker's attempts that a user has cancelled. */
  async cancelled(
    workerId: string,
    attempts: readonly Pick<Lease, 'jobId' | 'attempt'>[],
  ): Promise<Pick<Lease, 'jobId' | 'attempt'>[]> {
    if (attempts.length === 0) return [];
    return this.database.query(
      `SELECT job_id AS "jobId", number AS attempt FROM attempt
       JOIN unnest($1::text[], $2::int[]) AS asked(job, nth) ON job_id = job AND number = nth
       WHERE worker_id = $3 AND outcome = 'cancelled'`,
      [attempts.map(({ jobId }) => jobId), attempts.map(({ attempt }) => attempt), workerId],
    );
  }

  /** Whether the attempt is the worker's current lease. */
  async owns(workerId: string, jobId: string, attempt: number): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM job WHERE id = $1 AND attempt = $2 AND lease_owner = $3 AND state = 'running'`,
      [jobId, attempt, workerId],
    );
    return rows.length > 0;
  }
}

/** A lease that a worker holds, and the desired state of its job. */
export interface Renewed {
  readonly id: string;
  readonly attempt: number;
  readonly wanted: string;
  readonly end_at_step: number | null;
  /** Whether it was not renewed and expires within half of a lease's length. */
  readonly ends_soon: boolean;
}

/**
 * SQL: common table expressions, the last of which is `renewed`: the leases that a worker owns and that
 * meet a condition. Rows that another transaction has locked are skipped, so that a transaction on one job
 * does not cost the worker its other leases. Such a lease counts as held, and the next heartbeat renews it.
 * The parameters of `renewValues` come first, also within a larger statement.
 */
export const renewLeases = (where = 'true'): string => `owned AS (
    SELECT job.id, job.attempt, lease_until, end_at_step,
      CASE WHEN desired_state = 'run' AND preempting_at IS NOT NULL THEN 'preempt' ELSE desired_state END AS wanted
    FROM job JOIN unnest($1::text[], $2::int[]) AS held(job_id, attempt) ON job.id = held.job_id AND job.attempt = held.attempt
    WHERE job.lease_owner = $3 AND job.state = 'running' AND ${where}
  ), unlocked AS (
    SELECT job.id FROM job JOIN owned ON job.id = owned.id AND job.attempt = owned.attempt
    WHERE job.lease_owner = $3 AND job.state = 'running' FOR UPDATE OF job SKIP LOCKED
  ), extended AS (
    UPDATE job SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
    FROM unlocked WHERE job.id = unlocked.id RETURNING job.id
  ), renewed AS (
    SELECT owned.id, owned.attempt, wanted, end_at_step,
      extended.id IS NULL AND lease_until < clock_timestamp() + $4 * interval '0.5 millisecond' AS ends_soon
    FROM owned LEFT JOIN extended ON extended.id = owned.id
  )`;

/** SQL: SET clause that renews a lease when the worker has reported. `leaseMs` is a placeholder. */
export const leaseRenewed = (leaseMs: string): string =>
  `lease_until = GREATEST(lease_until, clock_timestamp() + ${leaseMs} * interval '1 millisecond')`;

export const renewValues = (
  workerId: string,
  leases: readonly Lease[],
  leaseMs: number,
): unknown[] => [
  leases.map((lease) => lease.jobId),
  leases.map((lease) => lease.attempt),
  workerId,
  leaseMs,
];

export function renewal(leases: readonly Lease[], rows: readonly Renewed[]): Renewal {
  const row = (lease: Lease): Renewed | undefined =>
    rows.find(({ id, attempt }) => id === lease.jobId && attempt === lease.attempt);
  const held = leases.filter((lease) => row(lease));
  return {
    held,
    lost: leases.filter((lease) => !row(lease)),
    pausing: held.filter((lease) => row(lease)?.wanted === 'pause'),
    preempting: held.filter((lease) => row(lease)?.wanted === 'preempt'),
    endsSoon: rows.some(({ ends_soon }) => ends_soon),
    ending: held.flatMap((lease) => {
      const step = row(lease)?.end_at_step ?? null;
      return step === null ? [] : [{ jobId: lease.jobId, attempt: lease.attempt, step }];
    }),
  };
}
