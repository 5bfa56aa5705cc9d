import { Injectable } from '@nestjs/common';
import type { JobGraft } from '@graft/contracts';
import { Settings } from '../config.js';
import { poolAllowed } from '../auth/pools.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { acceptsJobs } from '../lifecycle/lease/fit-worker.js';
import { RUNNING_LIMIT, decayedUse } from '../lifecycle/lease/next-job.js';
import {
  simulate,
  type PoolState,
  type Running,
  type Sharing,
  type Waiting,
} from './queue-simulation.js';
import { Speeds } from './speeds.js';

/** Position of a queued job and the forecast of its start. */
export interface QueuePlace {
  /** 1 is the next job. */
  readonly position: number;
  /** Number of queued jobs in its pool, across projects. */
  readonly length: number;
  readonly start: StartForecast | null;
}

export interface StartForecast {
  /** Expected start in milliseconds since 1970, and its range. */
  readonly at: number;
  readonly range: readonly [earliest: number, latest: number];
}

interface Forecast {
  readonly startedAt: number;
  /** Milliseconds that the computation took. Expensive forecasts are computed less often. */
  cost: number;
  /** Number of queued jobs; while the forecast is being computed, that of the previous one. */
  waiting: number;
  readonly found: Promise<ForecastState>;
}

/** A running job with its identity. */
export interface RunningJob extends Running, Pick<Waiting, 'id' | 'priority'> {
  readonly worker: string;
}

/** State of a pool with the identities of its running jobs. */
export interface NamedPoolState extends PoolState {
  readonly running: readonly RunningJob[];
}

export interface ForecastState {
  /** Time of the state, in milliseconds since 1970. */
  readonly at: number;
  readonly state: NamedPoolState;
  readonly rates: ReadonlyMap<string, number>;
  readonly places: ReadonlyMap<string, QueuePlace>;
}

/** A job that does not exist yet. */
export interface HypotheticalJob {
  readonly project: string;
  readonly priority: number;
  readonly base: string;
  readonly tokens: number;
}

/** Pools whose forecasts are cached: a preview may name any pool. */
const KEPT_POOLS = 500;
/** Lifetime of a forecast in milliseconds, halved if it does not contain the requested job. */
const GOOD_MS = 2_000;
/** A forecast is reused for at least this many times its computation time. */
const SPARING = 20;
/**
 * Number of queued jobs up to which the creation of a job waits for a forecast, and the time for which a
 * higher number is assumed to last.
 */
const QUICK = 1_000;
const LONG_MS = 60_000;
/** Range of a forecast: half to twice the wait, plus the time of an assignment for the upper bound. */
const SPREAD = 2;
const HANDING_OVER_MS = 10_000;

/** Inputs for estimating the duration of a job. */
interface Timed {
  readonly base: string;
  /** Tokens of all steps, and the fraction of the steps that remains. */
  readonly tokens: number | null;
  readonly share: number;
}

/** Positions of queued jobs and forecasts of their starts, computed for a whole pool and cached. */
@Injectable()
export class QueueForecasts {
  private readonly pools = new Map<string, Forecast>();

  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly speeds: Speeds,
  ) {}

  /** Positions of the queued jobs among `jobs` that may start at some time. */
  async of(
    jobs: readonly Pick<Job, 'id' | 'pool' | 'state' | 'desired_state'>[],
  ): Promise<ReadonlyMap<string, QueuePlace>> {
    const waiting = jobs.filter((job) => job.state === 'queued' && job.desired_state === 'run');
    const found = new Map<string, QueuePlace>();
    for (const pool of new Set(waiting.map((job) => job.pool))) {
      const queuedIds = waiting.filter((job) => job.pool === pool).map((job) => job.id);
      let { places } = await this.current(pool, GOOD_MS);
      if (queuedIds.some((id) => !places.has(id)))
        ({ places } = await this.current(pool, GOOD_MS / 2));
      for (const id of queuedIds) {
        const place = places.get(id);
        if (place) found.set(id, place);
      }
    }
    return found;
  }

  /**
   * Position of a job that was just created. Null if the queue is long, because the computation takes time;
   * later requests for the job include the position.
   */
  async forCreated(
    job: Pick<Job, 'id' | 'pool' | 'state' | 'desired_state'>,
  ): Promise<QueuePlace | null> {
    const known = this.pools.get(job.pool);
    const isLong = known !== undefined && known.waiting > QUICK;
    if (isLong && performance.now() - known.startedAt < LONG_MS) return null;
    return (await this.of([job])).get(job.id) ?? null;
  }

  /** Position that a new job would get; null if it might never start. */
  async forHypothetical(pool: string, job: HypotheticalJob): Promise<QueuePlace | null> {
    const { at, state, rates } = await this.current(pool, GOOD_MS);
    const rate = rates.get(job.base) ?? (await this.speeds.ofSlots([job.base], pool)).get(job.base);
    const own = state.projects.some(({ id }) => id === job.project)
      ? []
      : await this.projects(pool, [job.project]);
    const imagined: Waiting = {
      id: '',
      project: job.project,
      priority: job.priority,
      age: state.waiting.length + 1,
      dueIn: 0,
      seconds: rate === undefined ? null : job.tokens / rate,
    };
    const places = placesOf(at, {
      ...state,
      waiting: [...state.waiting, imagined],
      projects: [...state.projects, ...own],
    });
    return places.get(imagined.id) ?? null;
  }

  /** State of a pool and the positions of its queued jobs. */
  snapshot(pool: string): Promise<ForecastState> {
    return this.current(pool, GOOD_MS);
  }

  /** Like `snapshot`, but computed now, for a decision of a user. */
  fresh(pool: string): Promise<ForecastState> {
    return this.forecast(pool);
  }

  private current(pool: string, goodMs: number): Promise<ForecastState> {
    const known = this.pools.get(pool);
    const now = performance.now();
    if (known && now - known.startedAt < Math.max(goodMs, known.cost * SPARING)) return known.found;
    const found = this.forecast(pool);
    const forecast: Forecast = { startedAt: now, cost: 0, waiting: known?.waiting ?? 0, found };
    this.cache(pool, forecast);
    found.then(
      ({ state }) => {
        forecast.cost = performance.now() - now;
        forecast.waiting = state.waiting.length;
      },
      () => this.pools.delete(pool),
    );
    return found;
  }

  /** Moves the pool to the end: the map is ordered by age. */
  private cache(pool: string, forecast: Forecast): void {
    this.pools.delete(pool);
    this.pools.set(pool, forecast);
    const [oldest] = this.pools.keys();
    if (this.pools.size > KEPT_POOLS && oldest !== undefined) this.pools.delete(oldest);
  }

  private async forecast(pool: string): Promise<ForecastState> {
    const { state, rates } = await this.state(pool);
    const at = Date.now();
    return { at, state, rates, places: placesOf(at, state) };
  }

  private async state(pool: string): Promise<Pick<ForecastState, 'state' | 'rates'>> {
    const waiting = await this.database.query<Omit<Waiting, 'seconds'> & Timed>(
      `SELECT id, project_id AS project, priority, (row_number() OVER (ORDER BY created_at, id))::int AS age,
         COALESCE(GREATEST(0, EXTRACT(EPOCH FROM not_before - clock_timestamp())), 0)::float8 AS "dueIn",
         ${TIMED} FROM job WHERE pool = $1 AND state = 'queued' AND desired_state = 'run'`,
      [pool],
    );
    const running = await this.database.query<
      Omit<RunningJob, 'left'> & Timed & { measured: number | null; leaving: boolean }
    >(
      `SELECT id, project_id AS project, priority, worker_id AS worker,
         EXTRACT(EPOCH FROM clock_timestamp() - assigned_at)::float8 AS held, ${TIMED},
         GREATEST(0, total_steps - step) * seconds_per_step AS measured, preempting_at IS NOT NULL AS leaving
       FROM job JOIN attempt ON attempt.job_id = job.id AND number = job.attempt
       WHERE pool = $1 AND state = 'running'`,
      [pool],
    );
    const rates = await this.speeds.ofSlots(
      [...new Set([...waiting, ...running].map(({ base }) => base))],
      pool,
    );
    const seconds = ({ base, tokens, share }: Timed): number | null => {
      const rate = rates.get(base);
      return tokens === null || rate === undefined ? null : (tokens * share) / rate;
    };
    const state = {
      freeSlots: await this.freeSlots(pool),
      waiting: waiting.map((job) => ({ ...job, seconds: seconds(job) })),
      running: running.map(({ measured, leaving, base, tokens, share, ...job }) => {
        const all = seconds({ base, tokens, share });
        const rest = measured ?? (all === null ? null : Math.max(0, all - job.held));
        return { ...job, left: leaving ? 0 : rest };
      }),
      projects: await this.projects(pool, [...new Set(waiting.map(({ project }) => project))]),
    };
    return { state, rates };
  }

  private async freeSlots(pool: string): Promise<number> {
    const [row] = await this.database.query<{ free: number }>(
      `SELECT COALESCE(sum(free_slots), 0)::int AS free FROM worker WHERE pool = $1 AND ${acceptsJobs('$2')}`,
      [pool, this.settings.leaseMs],
    );
    return row?.free ?? 0;
  }

  private projects(pool: string, ids: readonly string[]): Promise<Sharing[]> {
    return this.database.query<Sharing>(
      `SELECT project.id, GREATEST(weight, 1) AS weight, ${RUNNING_LIMIT} AS "limit",
         (SELECT count(*)::int FROM job WHERE project_id = project.id AND state = 'running' AND pool <> $1) AS elsewhere,
         COALESCE((SELECT ${decayedUse} FROM pool_use WHERE pool = $1 AND project_id = project.id), 0) AS used
       FROM project WHERE id = ANY($2) AND ${poolAllowed('$1', 'project.id')}
         AND NOT EXISTS (SELECT 1 FROM pool WHERE name = $1 AND cordoned)`,
      [pool, ids],
    );
  }
}

const TIMED = `base_id AS base, estimated_tokens::float8 AS tokens,
  CASE WHEN total_steps > 0 THEN 1 - LEAST(1, step::float8 / total_steps) ELSE 1 END AS share`;

const forecastOf = (now: number, wait: number): StartForecast => ({
  at: now + wait,
  range: [now + wait / SPREAD, now + wait * SPREAD + HANDING_OVER_MS],
});

function placesOf(at: number, state: PoolState): ReadonlyMap<string, QueuePlace> {
  const starts = simulate(state);
  return new Map(
    starts.map(({ id, seconds }, n) => [
      id,
      {
        position: n + 1,
        length: starts.length,
        start: seconds === null ? null : forecastOf(at, seconds * 1000),
      },
    ]),
  );
}

/** Converts a position to the fields of the API. */
export function placeFields(
  place: QueuePlace | null,
): Pick<JobGraft, 'queue_position' | 'queue_length' | 'estimated_start' | 'estimated_start_range'> {
  const seconds = (ms: number): number => Math.round(ms / 1000);
  const start = place?.start ?? null;
  return {
    queue_position: place?.position ?? null,
    queue_length: place?.length ?? null,
    estimated_start: start && seconds(start.at),
    estimated_start_range: start && [seconds(start.range[0]), seconds(start.range[1])],
  };
}
