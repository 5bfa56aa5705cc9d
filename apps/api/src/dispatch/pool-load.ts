import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { takesJobs } from '../lifecycle/lease/fit-worker.js';
import { nextJobs } from '../lifecycle/lease/next-job.js';
import { unix } from '../ids.js';
import type { PoolSampleObject } from '@graft/contracts';

/** A pool now. */
export interface Load {
  readonly pool: string;
  readonly queued: number;
  /** Waits of its queued jobs; null where none waits. */
  readonly longest: number | null;
  readonly median: number | null;
  readonly running: number;
  readonly online: number;
  readonly draining: number;
  readonly cordoned: number;
  readonly offline: number;
  /** Of workers that take jobs, and those of them that no job has. */
  readonly slots: number;
  readonly free_slots: number;
}

/** SQL: a pool's figures by the pools' names; a placeholder of a lease's milliseconds. */
const loads = (leaseMs: string): string =>
  `WITH jobs AS (
     SELECT pool, (count(*) FILTER (WHERE state = 'queued'))::int AS queued,
       (count(*) FILTER (WHERE state = 'running'))::int AS running,
       (max(clock_timestamp() - queued_at) FILTER (WHERE state = 'queued')) AS longest,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM clock_timestamp() - queued_at)::float8)
         FILTER (WHERE state = 'queued') AS median
     FROM job WHERE state IN ('queued', 'running') GROUP BY pool
   ), workers AS (
     SELECT worker.pool, (count(*) FILTER (WHERE state = 'online' AND NOT worker.cordoned))::int AS online,
       (count(*) FILTER (WHERE state = 'draining'))::int AS draining,
       (count(*) FILTER (WHERE state = 'online' AND worker.cordoned))::int AS cordoned,
       (count(*) FILTER (WHERE state = 'offline'))::int AS offline,
       COALESCE(sum(slots) FILTER (WHERE ${takesJobs(leaseMs)} AND held.name IS NULL), 0)::int AS slots,
       COALESCE(sum(free_slots) FILTER (WHERE ${takesJobs(leaseMs)} AND held.name IS NULL), 0)::int AS free_slots
     FROM worker LEFT JOIN pool held ON held.name = worker.pool AND held.cordoned GROUP BY worker.pool
   )
   SELECT pool.name AS pool, COALESCE(queued, 0) AS queued, COALESCE(running, 0) AS running,
     EXTRACT(EPOCH FROM longest)::float8 AS longest, median, COALESCE(online, 0) AS online,
     COALESCE(draining, 0) AS draining, COALESCE(workers.cordoned, 0) AS cordoned, COALESCE(offline, 0) AS offline,
     COALESCE(slots, 0) AS slots, COALESCE(free_slots, 0) AS free_slots
   FROM pool LEFT JOIN jobs ON jobs.pool = pool.name LEFT JOIN workers ON workers.pool = pool.name`;

/** SQL, of the pool in the first placeholder: its running jobs, and runs of evals that wait for a worker of it. */
const RUNNING = `SELECT 1 FROM job WHERE pool = $1 AND state = 'running'`;
const WAITING_EVALS = `SELECT project_id FROM eval_run WHERE wanted_pool = $1 AND status = 'in_progress'
  AND NOT EXISTS (SELECT 1 FROM pool WHERE name = $1 AND cordoned)`;

/** The most pools without a name of their own that `unnamed` lists. Each costs `/metrics` a query for `wanted`. */
const MOST_UNNAMED = 20;

/** How much waits in each pool, and how much room its workers have. */
@Injectable()
export class PoolLoad {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  /** Of every pool that has a name of its own, by a worker that joined, a join token or a grant; or of one. */
  async now(pool: string | null = null): Promise<ReadonlyMap<string, Load>> {
    const { leaseMs } = this.settings;
    const rows =
      pool === null
        ? await this.database.query<Load>(loads('$1'), [leaseMs])
        : await this.database.query<Load>(`${loads('$1')} WHERE pool.name = $2`, [leaseMs, pool]);
    return new Map(rows.map((row) => [row.pool, row]));
  }

  /**
   * Of pools that only queued jobs name, those with the oldest jobs. Whoever may create jobs may name any number of
   * pools, so at most MOST_UNNAMED are listed.
   */
  async unnamed(): Promise<readonly Pick<Load, 'pool' | 'queued' | 'longest'>[]> {
    return this.database.query(
      `SELECT pool, count(*)::int AS queued, EXTRACT(EPOCH FROM max(clock_timestamp() - queued_at))::float8 AS longest
       FROM job WHERE state = 'queued' AND NOT EXISTS (SELECT 1 FROM pool WHERE name = job.pool)
       GROUP BY pool ORDER BY longest DESC, pool LIMIT ${MOST_UNNAMED}`,
    );
  }

  /**
   * Slots that a pool could use now: its running jobs, those that could start if there were a slot for each, and one for
   * each project of which a run of an eval has waited for a worker of the pool and goes on. A project does one at a time.
   */
  async wanted(pool: string): Promise<number> {
    const [row] = await this.database.query<{ wanted: number }>(
      `SELECT (SELECT count(*) FROM (${nextJobs('$1', null)}) AS next)::int
         + (SELECT count(*) FROM (${RUNNING}) AS running)::int
         + (SELECT count(DISTINCT project_id) FROM (${WAITING_EVALS}) AS waiting)::int AS wanted`,
      [pool],
    );
    return row?.wanted ?? 0;
  }

  /** Whether a pool could use a slot now. Unlike `wanted` it does not look at the whole queue. */
  async isWanted(pool: string): Promise<boolean> {
    const [row] = await this.database.query<{ wanted: boolean }>(
      `SELECT EXISTS (${RUNNING}) OR EXISTS (${WAITING_EVALS})
         OR EXISTS (SELECT 1 FROM (${nextJobs('$1', 1)}) AS next) AS wanted`,
      [pool],
    );
    return row?.wanted ?? false;
  }

  /** Slots of a worker of the pool, as those say that are there; null where none is. */
  async slotsPerWorker(pool: string): Promise<number | null> {
    const [row] = await this.database.query<{ slots: number | null }>(
      `SELECT max(slots) AS slots FROM worker WHERE pool = $1 AND state <> 'offline'`,
      [pool],
    );
    return row?.slots ?? null;
  }

  /** Writes what every pool is like, where that has not been done in this minute. */
  async sample(): Promise<void> {
    await this.database.query(
      `INSERT INTO pool_sample (pool, at, queued, running, slots, free_slots)
       SELECT pool, date_trunc('minute', clock_timestamp()), queued, running, slots, free_slots FROM (${loads('$1')}) AS now
       WHERE NOT EXISTS (SELECT 1 FROM pool_sample WHERE at = date_trunc('minute', statement_timestamp()))
       ON CONFLICT DO NOTHING`,
      [this.settings.leaseMs],
    );
  }

  /** A pool's last hour, the oldest minute first. */
  async lastHour(pool: string): Promise<PoolSampleObject[]> {
    const rows = await this.database.query<Omit<PoolSampleObject, 'at'> & { at: Date }>(
      `SELECT at, queued, running, slots, free_slots FROM pool_sample
       WHERE pool = $1 AND at > clock_timestamp() - interval '1 hour' ORDER BY at`,
      [pool],
    );
    return rows.map((row) => ({ ...row, at: unix(row.at) }));
  }
}
