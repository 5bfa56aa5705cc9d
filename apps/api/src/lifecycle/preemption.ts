import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { EventLog } from './event-log.js';
import { BUILD, buildsOf, takesJobs } from './fit-worker.js';
import { nextJobs } from './next-job.js';

/** Preemptions in a row after which a job keeps its slot. */
const MOST_IN_A_ROW = 3;
/** Waiting jobs of each project that are given slots in one look. */
const WINDOW = 16;
/** Any number that no other user of this database locks. */
const ADVISORY_CLASS = 7_240_253;

/** A running job that is to hand back its slot. */
export type Victim = Pick<Job, 'id' | 'attempt' | 'lease_owner'>;

/**
 * Which running jobs are to make way for waiting ones of a higher priority. They are only told so: the worker saves a
 * checkpoint and hands the job back, and it is queued again (AttemptOutcomes).
 */
@Injectable()
export class Preemption {
  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
    private readonly settings: Settings,
  ) {}

  /** Pools where a job waits and one of lower priority runs. */
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

  /** Marks as many jobs of a pool as are needed, and not one more; those that are on their way count. */
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
   * Waiting jobs in their order get the free slots and those that are coming; each of the others one of a running job: of
   * the lowest priority, then of the project that holds most for its weight, then the one that began last.
   */
  private async mark(manager: EntityManager, pool: string): Promise<Victim[]> {
    const { waiting, slots, running } = await this.look(manager, pool);
    const victims = makeWay(waiting, slots, running);
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

  /** All of one moment: a job that is given a slot meanwhile would else wait for one that is gone. */
  private async look(manager: EntityManager, pool: string): Promise<Look> {
    const order = `job.priority DESC, held.jobs / GREATEST(project.weight, 1)::float8 DESC, attempt.started_at DESC, job.id`;
    const [look] = await this.database.query<Look>(
      `WITH builds AS MATERIALIZED (${buildsOf(`worker.pool = $1 AND ${takesJobs('$2')}`)}),
       waiting AS MATERIALIZED (
         SELECT next.priority, next.place, ARRAY(SELECT build FROM builds
           WHERE (next.needs IS NULL OR tasks ? next.needs) AND knows ?& next.words) AS builds
         FROM (${nextJobs('$1', WINDOW)}) AS next
       ), slot AS (
         SELECT ${BUILD} AS build, free_slots AS free FROM worker WHERE worker.pool = $1 AND ${takesJobs('$2')}
         UNION ALL SELECT ${BUILD}, 1 FROM job JOIN worker ON worker.id = job.lease_owner
         WHERE job.pool = $1 AND job.state = 'running' AND preempting_at IS NOT NULL
       ), slots AS (
         SELECT build, sum(free) AS free FROM slot GROUP BY build
       ), held AS (
         SELECT project_id, count(*) AS jobs FROM job WHERE job.pool = $1 AND state = 'running' GROUP BY project_id
       ), candidate AS (
         SELECT job.id, job.attempt, job.priority, ${BUILD} AS build, row_number() OVER (ORDER BY ${order}) AS n,
           row_number() OVER (PARTITION BY ${BUILD} ORDER BY ${order}) AS nth
         FROM job JOIN attempt ON attempt.job_id = job.id AND attempt.number = job.attempt
           JOIN worker ON worker.id = job.lease_owner JOIN project ON project.id = job.project_id
           JOIN held ON held.project_id = job.project_id
         WHERE job.pool = $1 AND job.state = 'running' AND job.desired_state = 'run' AND job.preempting_at IS NULL
           AND job.preempted < ${MOST_IN_A_ROW} AND ${takesJobs('$2')}
           AND attempt.started_at <= clock_timestamp() - $3 * interval '1 second'
       )
       SELECT COALESCE((SELECT json_agg(waiting ORDER BY place) FROM waiting), '[]') AS waiting,
         COALESCE((SELECT json_agg(slots) FROM slots), '[]') AS slots,
         COALESCE((SELECT json_agg(candidate ORDER BY n) FROM candidate
           WHERE nth <= (SELECT count(*) FROM waiting)), '[]') AS running`,
      [pool, this.settings.leaseMs, this.settings.minRunSeconds],
      manager,
    );
    return look ?? { waiting: [], slots: [], running: [] };
  }
}

/** A pool as it is when victims are chosen, everything in its order. A build is one of `buildsOf`. */
interface Look {
  readonly waiting: readonly Waiting[];
  readonly slots: readonly Slots[];
  readonly running: readonly Running[];
}

/** A job, and which builds can do it. */
interface Waiting {
  readonly priority: number;
  readonly builds: readonly string[];
}

/** Of workers of a build: those that are free or coming. */
interface Slots {
  readonly build: string;
  readonly free: number;
}

/** A job that may be preempted, and of which build its worker is. */
interface Running {
  readonly id: string;
  readonly attempt: number;
  readonly priority: number;
  readonly build: string;
}

/**
 * Those that make way: of workers whose build can do what waits, as only such a slot is of use to it. Of several free
 * slots a job counts for the one that the fewest others could use.
 */
export function makeWay(
  waiting: readonly Waiting[],
  slots: readonly Slots[],
  running: readonly Running[],
): Running[] {
  const users = ({ build }: Slots): number =>
    waiting.filter(({ builds }) => builds.includes(build)).length;
  const room = slots
    .map((of) => ({ ...of, users: users(of) }))
    .toSorted((a, b) => a.users - b.users);
  const victims = new Set<Running>();
  for (const { priority, builds } of waiting) {
    const slot = room.find(({ build, free }) => free > 0 && builds.includes(build));
    if (slot) {
      slot.free--;
      continue;
    }
    const victim = running.find((one) => builds.includes(one.build) && !victims.has(one));
    if (victim && victim.priority > priority) victims.add(victim);
  }
  return [...victims];
}
