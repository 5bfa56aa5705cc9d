import { Injectable } from '@nestjs/common';
import {
  DomainError,
  type PoolChange,
  type PoolQueueObject,
  type PoolRunningJob,
  type PoolWaitingJob,
  type PoolWhatIfObject,
} from '@graft/contracts';
import { Settings } from '../config.js';
import { poolAllowed } from '../auth/pools.js';
import { isAdmin, type Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import type { Project } from '../database/entities/tenancy.js';
import { unix } from '../ids.js';
import { acceptsJobs } from '../lifecycle/lease/fit-worker.js';
import { highestPriority } from '../lifecycle/lease/quotas.js';
import { JOB_NAME } from './job-name.js';
import { changedStarts, frontPriority, type PoolAction } from './pool-what-if.js';
import { QueueForecasts, placeFields, type ForecastState } from './queue-forecasts.js';

/** Number of queued jobs in an answer. */
const SHOWN = 200;

type Row = Pick<
  Job,
  'id' | 'project_id' | 'model' | 'priority' | 'step' | 'total_steps' | 'phase_message' | 'state'
> & {
  readonly title: string;
  readonly project_name: string;
  readonly queued_at: Date;
  readonly assigned_at: Date | null;
};

/** Jobs of a pool with the forecast of their times, and the consequences of actions. */
@Injectable()
export class PoolQueues {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly forecasts: QueueForecasts,
  ) {}

  async queue(caller: Principal, pool: string): Promise<PoolQueueObject> {
    await this.requirePool(caller, pool);
    const forecast = await this.forecasts.snapshot(pool);
    const { running, waiting } = forecast.state;
    const place = ({ id }: { readonly id: string }): number =>
      forecast.places.get(id)?.position ?? Infinity;
    const shown = [...waiting]
      .sort((a, b) => place(a) - place(b) || a.priority - b.priority || a.age - b.age)
      .slice(0, SHOWN);
    const rows = await this.rows([...running, ...shown].map(({ id }) => id));
    return {
      object: 'graft.pool_queue',
      id: pool,
      at: Math.round(forecast.at / 1000),
      running: running.flatMap((job) => {
        const row = rows.get(job.id);
        return row ? [runningJob(caller, row, job, forecast.at)] : [];
      }),
      waiting: shown.flatMap((job) => {
        const row = rows.get(job.id);
        return row ? [waitingJob(caller, row, job.seconds, forecast)] : [];
      }),
      queued: waiting.length,
    };
  }

  /** Consequences of moving a job to the front of its queue. */
  async front(caller: Principal, pool: string, job: string): Promise<PoolWhatIfObject> {
    await this.requirePool(caller, pool);
    const forecast = await this.forecasts.fresh(pool);
    const row = (await this.rows([job])).get(job);
    const isQueued = forecast.state.waiting.some(({ id }) => id === job);
    if (!row || !isQueued || row.project_id !== caller.projectId)
      throw new DomainError('not_found', `no such queued job in pool ${pool}: ${job}`, 'front');
    const priority = frontPriority(forecast.state, job, await this.highest(caller.projectId));
    const found = await this.changes(caller, forecast, { kind: 'front', job, priority });
    const position = found.positions.get(job) ?? null;
    const slots_left = await this.slots(pool, null);
    return {
      ...whatIf(pool, 'front', job),
      priority,
      position,
      slots_left,
      changes: found.changes,
    };
  }

  /** Consequences of draining or cordoning a worker. */
  async without(
    caller: Principal,
    pool: string,
    kind: 'drain' | 'cordon',
    worker: string,
  ): Promise<PoolWhatIfObject> {
    await this.requirePool(caller, pool);
    const [found] = await this.database.query<{ free: number }>(
      `SELECT CASE WHEN ${acceptsJobs('$3')} THEN free_slots ELSE 0 END AS free
       FROM worker WHERE id = $1 AND pool = $2`,
      [worker, pool, this.settings.leaseMs],
    );
    if (!found) throw new DomainError('not_found', `no such worker in pool ${pool}`, kind);
    const forecast = await this.forecasts.fresh(pool);
    const ages = await this.database.query<{ id: string; age: number }>(
      `SELECT id, (SELECT count(*) FROM job older WHERE older.pool = $1 AND older.state = 'queued'
         AND older.desired_state = 'run' AND (older.created_at, older.id) < (job.created_at, job.id))::float8 + 0.5 AS age
       FROM job WHERE pool = $1 AND state = 'running' AND lease_owner = $2`,
      [pool, worker],
    );
    const action: PoolAction = {
      kind,
      worker,
      freeSlots: found.free,
      ages: new Map(ages.map(({ id, age }) => [id, age])),
    };
    const { changes } = await this.changes(caller, forecast, action);
    const slots_left = await this.slots(pool, worker);
    return { ...whatIf(pool, kind, worker), priority: null, position: null, slots_left, changes };
  }

  private async changes(
    caller: Principal,
    { at, state }: ForecastState,
    action: PoolAction,
  ): Promise<{ changes: PoolChange[]; positions: ReadonlyMap<string, number> }> {
    const starts = changedStarts(state, action).slice(0, SHOWN);
    const rows = await this.rows(starts.map(({ id }) => id));
    const time = (seconds: number | null): number | null =>
      seconds === null ? null : Math.round(at / 1000 + seconds);
    const changes = starts.flatMap(({ id, wasRunning, before, after }): PoolChange[] => {
      const row = rows.get(id);
      if (!row) return [];
      return [
        {
          ...jobOf(caller, row),
          was_running: wasRunning,
          start_before: wasRunning ? null : time(before),
          start_after: time(after),
          delay_seconds: before === null || after === null ? null : Math.round(after - before),
        },
      ];
    });
    return { changes, positions: new Map(starts.map(({ id, position }) => [id, position])) };
  }

  private async rows(ids: readonly string[]): Promise<ReadonlyMap<string, Row>> {
    const rows = await this.database.query<Row>(
      `SELECT job.id, job.project_id, job.model, job.priority, job.step, job.total_steps, job.phase_message, job.state,
         ${JOB_NAME} AS title, project.name AS project_name, job.queued_at, attempt.assigned_at
       FROM job JOIN project ON project.id = job.project_id
       LEFT JOIN attempt ON attempt.job_id = job.id AND attempt.number = job.attempt
       WHERE job.id = ANY($1)`,
      [ids],
    );
    return new Map(rows.map((row) => [row.id, row]));
  }

  private async slots(pool: string, without: string | null): Promise<number> {
    const [row] = await this.database.query<{ slots: number }>(
      `SELECT COALESCE(sum(slots), 0)::int AS slots FROM worker
       WHERE pool = $1 AND id IS DISTINCT FROM $2 AND ${acceptsJobs('$3')}`,
      [pool, without, this.settings.leaseMs],
    );
    return row?.slots ?? 0;
  }

  private async highest(projectId: string): Promise<number> {
    const [project] = await this.database.query<Pick<Project, 'limits'>>(
      'SELECT limits FROM project WHERE id = $1',
      [projectId],
    );
    return highestPriority(projectId, project?.limits ?? {});
  }

  private async requirePool(caller: Principal, pool: string): Promise<void> {
    const found = await this.database.query(
      `SELECT 1 FROM pool WHERE name = $1 AND ($2 OR ${poolAllowed('pool.name', '$3')})`,
      [pool, isAdmin(caller), caller.projectId],
    );
    if (found.length === 0)
      throw new DomainError('not_found', `no such pool: ${pool.slice(0, 80)}`, 'pool');
  }
}

const whatIf = (id: string, action: PoolWhatIfObject['action'], target: string) => ({
  object: 'graft.pool_what_if' as const,
  id,
  action,
  target,
});

/** Identity of a job. Jobs of other projects are anonymous; administrators see their project. */
function jobOf(caller: Principal, row: Row) {
  const isOwn = row.project_id === caller.projectId;
  return {
    id: isOwn ? row.id : null,
    name: isOwn ? row.title : null,
    model: isOwn ? row.model : null,
    project: isOwn || isAdmin(caller) ? { id: row.project_id, name: row.project_name } : null,
    priority: row.priority,
  };
}

function runningJob(
  caller: Principal,
  row: Row,
  job: { readonly worker: string; readonly left: number | null },
  at: number,
): PoolRunningJob {
  const identity = jobOf(caller, row);
  const isOwn = identity.id !== null;
  return {
    ...identity,
    worker: job.worker,
    started_at: unix(row.assigned_at ?? row.queued_at),
    step: isOwn ? row.step : null,
    total_steps: isOwn ? row.total_steps : null,
    estimated_finish: job.left === null ? null : Math.round(at / 1000 + job.left),
  };
}

function waitingJob(
  caller: Principal,
  row: Row,
  seconds: number | null,
  { places }: ForecastState,
): PoolWaitingJob {
  const identity = jobOf(caller, row);
  const { queue_position, estimated_start, estimated_start_range } = placeFields(
    places.get(row.id) ?? null,
  );
  return {
    ...identity,
    queued_at: unix(row.queued_at),
    position: queue_position,
    reason: identity.id === null ? null : row.phase_message,
    estimated_start,
    estimated_start_range,
    estimated_seconds: seconds === null ? null : Math.round(seconds),
  };
}
