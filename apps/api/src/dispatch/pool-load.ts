import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { acceptsJobs } from '../lifecycle/lease/fit-worker.js';
import { nextJobs } from '../lifecycle/lease/next-job.js';
import { unix } from '../ids.js';
import type { PoolSampleObject } from '@graft/contracts';

/** Current load of a pool. */
export interface Load {
  readonly pool: string;
  readonly queued: number;
  /** Seconds that the pool's queued jobs have waited; `null` if there are none. */
  readonly longest: number | null;
  readonly median: number | null;
  readonly running: number;
  readonly online: number;
  readonly draining: number;
  readonly cordoned: number;
  readonly offline: number;
  /** Slots of workers that accept jobs, and how many of them are free. */
  readonly slots: number;
  readonly free_slots: number;
}

/** SQL that selects the load by pool. Placeholder: a lease in milliseconds. */
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
       COALESCE(sum(slots) FILTER (WHERE ${acceptsJobs(leaseMs)} AND held.name IS NULL), 0)::int AS slots,
       COALESCE(sum(free_slots) FILTER (WHERE ${acceptsJobs(leaseMs)} AND held.name IS NULL), 0)::int AS free_slots
     FROM worker LEFT JOIN pool held ON held.name = worker.pool AND held.cordoned GROUP BY worker.pool
   )
   SELECT pool.name AS pool, COALESCE(queued, 0) AS queued, COALESCE(running, 0) AS running,
     EXTRACT(EPOCH FROM longest)::float8 AS longest, median, COALESCE(online, 0) AS online,
     COALESCE(draining, 0) AS draining, COALESCE(workers.cordoned, 0) AS cordoned, COALESCE(offline, 0) AS offline,
     COALESCE(slots, 0) AS slots, COALESCE(free_slots, 0) AS free_slots
   FROM pool LEFT JOIN jobs ON jobs.pool = pool.name LEFT JOIN workers ON workers.pool = pool.name`;

/** SQL for the pool in the first placeholder: its running jobs, and eval runs that wait for one of its workers. */
const RUNNING = `SELECT 1 FROM job WHERE pool = $1 AND state = 'running'`;
const WAITING_EVALS = `SELECT project_id FROM eval_run WHERE wanted_pool = $1 AND status = 'in_progress'
  AND NOT EXISTS (SELECT 1 FROM pool WHERE name = $1 AND cordoned)`;

/** Maximum number of unnamed pools that are listed. Each costs `/metrics` a query for `wanted`. */
const MOST_UNNAMED = 20;

/** Queue lengths and capacities of pools. */
@Injectable()
export class PoolLoad {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  /** Returns the load of one pool, or of every pool that a worker, a join token or a grant has named. */
  async now(pool: string | null = null): Promise<ReadonlyMap<string, Load>> {
    const { leaseMs } = this.settings;
    const rows =
      pool === null
        ? await this.database.query<Load>(loads('$1'), [leaseMs])
        : await this.database.query<Load>(`${loads('$1')} WHERE pool.name = $2`, [leaseMs, pool]);
    return new Map(rows.map((row) => [row.pool, row]));
  }

  /**
   * Returns the pools that only queued jobs name, those with the oldest jobs first. Users may name any number of
   * pools, so at most MOST_UNNAMED are listed.
   */
  async unregisteredPools(): Promise<readonly Pick<Load, 'pool' | 'queued' | 'longest'>[]> {
    return this.database.query(
      `SELECT pool, count(*)::int AS queued, EXTRACT(EPOCH FROM max(clock_timestamp() - queued_at))::float8 AS longest
       FROM job WHERE state = 'queued' AND NOT EXISTS (SELECT 1 FROM pool WHERE name = job.pool)
       GROUP BY pool ORDER BY longest DESC, pool LIMIT ${MOST_UNNAMED}`,
    );
  }

  /**
   * Returns the number of slots that a pool could use now: its running jobs, the queued jobs that could start if
   * there were slots, and one for each project with an active eval run that has waited for a worker of the pool. A
   * project runs one eval at a time.
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

  /** Whether a pool could use a slot now. Unlike `wanted`, it does not read the whole queue. */
  async isWanted(pool: string): Promise<boolean> {
    const [row] = await this.database.query<{ wanted: boolean }>(
      `SELECT EXISTS (${RUNNING}) OR EXISTS (${WAITING_EVALS})
         OR EXISTS (SELECT 1 FROM (${nextJobs('$1', 1)}) AS next) AS wanted`,
      [pool],
    );
    return row?.wanted ?? false;
  }

  /** Returns the slots of a worker of the pool, as reported by connected workers; `null` if there are none. */
  async slotsPerWorker(pool: string): Promise<number | null> {
    const [row] = await this.database.query<{ slots: number | null }>(
      `SELECT max(slots) AS slots FROM worker WHERE pool = $1 AND state <> 'offline'`,
      [pool],
    );
    return row?.slots ?? null;
  }

  /** Records the load of all pools once a minute. */
  async sample(): Promise<void> {
    await this.database.query(
      `INSERT INTO pool_sample (pool, at, queued, running, slots, free_slots)
       SELECT pool, date_trunc('minute', clock_timestamp()), queued, running, slots, free_slots FROM (${loads('$1')}) AS now
       WHERE NOT EXISTS (SELECT 1 FROM pool_sample WHERE at = date_trunc('minute', statement_timestamp()))
       ON CONFLICT DO NOTHING`,
      [this.settings.leaseMs],
    );
  }

  /** Returns the samples of a pool's last hour, oldest first. */
  async lastHour(pool: string): Promise<PoolSampleObject[]> {
    const rows = await this.database.query<Omit<PoolSampleObject, 'at'> & { at: Date }>(
      `SELECT at, queued, running, slots, free_slots FROM pool_sample
       WHERE pool = $1 AND at > clock_timestamp() - interval '1 hour' ORDER BY at`,
      [pool],
    );
    return rows.map((row) => ({ ...row, at: unix(row.at) }));
  }
}
