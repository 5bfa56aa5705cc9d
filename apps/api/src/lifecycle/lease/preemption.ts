import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import type { Job } from '../../database/entities/job.js';
import { EventLog } from '../event-log.js';
import { acceptsJobs, WORKER_VERSION } from './fit-worker.js';
import { nextJobs } from './next-job.js';

/** Consecutive preemptions after which a job keeps its slot. */
const MOST_IN_A_ROW = 3;
/** Maximum number of queued jobs per project that are considered in one pass. */
const WINDOW = 16;
/** Arbitrary class of advisory locks; no other user of this database may lock it. */
const ADVISORY_CLASS = 7_240_253;

/** A running job to preempt. */
export type Victim = Pick<Job, 'id' | 'attempt' | 'lease_owner'>;

/**
 * Chooses running jobs to preempt for queued jobs of higher priority. A preempted job is only marked: its
 * worker saves a checkpoint and hands the job back, and the job is queued again (AttemptOutcomes).
 */
@Injectable()
export class Preemption {
  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
    private readonly settings: Settings,
  ) {}

  /** Pools with a queued job and a running job of lower priority. */
  async pools(): Promise<string[]> {
    const rows = await this.database.query<{ pool: string }>(
      `SELECT pool FROM (
         SELECT pool, min(priority) AS best FROM job WHERE state = 'queued' AND desired_state = 'run' GROUP BY pool
       ) AS waiting JOIN (
         SELECT pool, max(priority) AS worst FROM job WHERE state = 'running' GROUP BY pool
       ) AS running USING (pool) WHERE best < worst ORDER BY pool`,
    );
    return rows.map(({ pool }) => pool);
  }

  /** Marks exactly as many jobs of a pool as necessary. Jobs that are already being preempted count. */
  async choose(pool: string): Promise<readonly Victim[]> {
    return this.database.transaction(async (manager) => {
      const [lock] = await this.database.query<{ mine: boolean }>(
        'SELECT pg_try_advisory_xact_lock($1, hashtext($2)) AS mine',
        [ADVISORY_CLASS, pool],
        manager,
      );
      if (!lock?.mine) return [];
      const victims = await this.mark(manager, pool);
      for (const { id } of victims)
        await this.events.append(manager, id, [
          { message: 'A job of higher priority needs the slot: saving a checkpoint' },
        ]);
      return victims;
    });
  }

  /**
   * Assigns free slots, and slots that become free, to queued jobs in order. Each remaining queued job
   * preempts a running one: that with the lowest priority, then of the project with the largest share
   * relative to its weight, then the one that started last.
   */
  private async mark(manager: EntityManager, pool: string): Promise<Victim[]> {
    const { waiting, slots, running } = await this.look(manager, pool);
    const victims = chooseVictims(waiting, slots, running);
    if (victims.length === 0) return [];
    return this.database.query<Victim>(
      `UPDATE job SET preempting_at = clock_timestamp(), phase_code = 'preempting',
         phase_message = 'Saving a checkpoint, then making way for a job of higher priority'
       FROM unnest($1::text[], $2::int[]) AS victim(id, attempt)
       WHERE job.id = victim.id AND job.attempt = victim.attempt AND job.state = 'running'
         AND job.desired_state = 'run' AND preempting_at IS NULL
       RETURNING job.id, job.attempt, job.lease_owner`,
      [victims.map(({ id }) => id), victims.map(({ attempt }) => attempt)],
      manager,
    );
  }

  /**
   * Reads everything in one snapshot. Otherwise, a job that is assigned in the meantime would still count
   * as queued while its slot no longer counts as free.
   */
  private async look(manager: EntityManager, pool: string): Promise<Look> {
    const order = `job.priority DESC, held.jobs / GREATEST(project.weight, 1)::float8 DESC, attempt.started_at DESC, job.id`;
    const [look] = await this.database.query<Look>(
      `WITH waiting AS MATERIALIZED (
         SELECT next.priority, next.place, next.schema_version AS version FROM (${nextJobs('$1', WINDOW)}) AS next
       ), slot AS (
         SELECT ${WORKER_VERSION} AS version, free_slots AS free FROM worker WHERE worker.pool = $1 AND ${acceptsJobs('$2')}
         UNION ALL SELECT ${WORKER_VERSION}, 1 FROM job JOIN worker ON worker.id = job.lease_owner
         WHERE job.pool = $1 AND job.state = 'running' AND preempting_at IS NOT NULL
       ), slots AS (
         SELECT version, sum(free) AS free FROM slot GROUP BY version
       ), held AS (
         SELECT project_id, count(*) AS jobs FROM job WHERE job.pool = $1 AND state = 'running' GROUP BY project_id
       ), candidate AS (
         SELECT job.id, job.attempt, job.priority, ${WORKER_VERSION} AS version, row_number() OVER (ORDER BY ${order}) AS n,
           row_number() OVER (PARTITION BY ${WORKER_VERSION} ORDER BY ${order}) AS nth
         FROM job JOIN attempt ON attempt.job_id = job.id AND attempt.number = job.attempt
           JOIN worker ON worker.id = job.lease_owner JOIN project ON project.id = job.project_id
           JOIN held ON held.project_id = job.project_id
         WHERE job.pool = $1 AND job.state = 'running' AND job.desired_state = 'run' AND job.preempting_at IS NULL
           AND job.preempted < ${MOST_IN_A_ROW} AND ${acceptsJobs('$2')}
           AND attempt.started_at <= clock_timestamp() - $3 * interval '1 second'
       )
       SELECT COALESCE((SELECT json_agg(waiting ORDER BY place) FROM waiting), '[]') AS waiting,
         COALESCE((SELECT json_agg(slots ORDER BY version) FROM slots), '[]') AS slots,
         COALESCE((SELECT json_agg(candidate ORDER BY n) FROM candidate
           WHERE nth <= (SELECT count(*) FROM waiting)), '[]') AS running`,
      [pool, this.settings.leaseMs, this.settings.minRunSeconds],
      manager,
    );
    return look ?? { waiting: [], slots: [], running: [] };
  }
}

/** Snapshot of a pool, in order. Versions are schema versions. */
interface Look {
  readonly waiting: readonly Waiting[];
  /** Sorted by version, lowest first. */
  readonly slots: readonly Slots[];
  readonly running: readonly Running[];
}

/** A queued job and the minimum version of its worker. */
interface Waiting {
  readonly priority: number;
  readonly version: number;
}

/** Number of slots on workers of a version that are free or about to be free. */
interface Slots {
  readonly version: number;
  readonly free: number;
}

/** A job that may be preempted, and the version of its worker. */
interface Running {
  readonly id: string;
  readonly attempt: number;
  readonly priority: number;
  readonly version: number;
}

/**
 * Jobs to preempt. Only jobs on workers that can run the queued job are considered. A queued job uses a
 * free slot of the lowest sufficient version, so that slots of newer versions stay free for jobs that
 * require them.
 */
export function chooseVictims(
  waiting: readonly Waiting[],
  slots: readonly Slots[],
  running: readonly Running[],
): Running[] {
  const left = slots.map((of) => ({ ...of }));
  const victims = new Set<Running>();
  for (const { priority, version } of waiting) {
    const slot = left.find((one) => one.free > 0 && one.version >= version);
    if (slot) {
      slot.free--;
      continue;
    }
    const victim = running.find((one) => one.version >= version && !victims.has(one));
    if (victim && victim.priority > priority) victims.add(victim);
  }
  return [...victims];
}
