import { Injectable } from '@nestjs/common';
import { poolAllowed } from '../../auth/pools.js';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { JOB_NAME } from '../../history/job-name.js';
import { unix } from '../../ids.js';
import { acceptsJobs } from '../../lifecycle/lease/fit-worker.js';
import { MOST, visible, type Problem, type Viewer } from './problem.js';

/** Time in a queue after which a job is reported, in milliseconds. */
const LONG_WAIT_MS = 3_600_000;

interface QueueRow {
  readonly pool: string;
  readonly project_id: string;
  readonly queued: number;
  readonly since: Date;
  readonly oldest: string;
  readonly oldest_name: string;
  readonly waited_ms: number;
  readonly granted: boolean;
  readonly cordoned: boolean;
  /** Workers of the pool that accept jobs, others that are connected, and free slots. */
  readonly accepting: number;
  readonly connected: number;
  readonly free: number;
  /** Highest schema version of the workers, and lowest and highest of the jobs. */
  readonly worker_version: number | null;
  readonly job_version: number;
}

/** Queued jobs that cannot start, and jobs that wait unusually long, one problem per project and pool. */
@Injectable()
export class QueueProblems {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  async of({ projectId, isAdmin }: Viewer): Promise<Problem[]> {
    const rows = await this.database.query<QueueRow>(
      `WITH waiting AS (
         SELECT pool, project_id, count(*)::int AS queued, min(queued_at) AS since,
           (array_agg(id ORDER BY queued_at, id))[1] AS oldest, min(schema_version) AS job_version
         FROM job WHERE state = 'queued' AND desired_state = 'run' AND deleted_at IS NULL AND ${visible('job')}
           AND (not_before IS NULL OR not_before < clock_timestamp())
         GROUP BY pool, project_id
       ), able AS (
         SELECT pool, (count(*) FILTER (WHERE ${acceptsJobs('$3')}))::int AS accepting,
           (count(*) FILTER (WHERE state <> 'offline'))::int AS connected,
           COALESCE(sum(free_slots) FILTER (WHERE ${acceptsJobs('$3')}), 0)::int AS free,
           max(schema_version) FILTER (WHERE ${acceptsJobs('$3')}) AS worker_version
         FROM worker GROUP BY pool
       )
       SELECT waiting.*, ${JOB_NAME} AS oldest_name,
         EXTRACT(EPOCH FROM clock_timestamp() - since)::float8 * 1000 AS waited_ms,
         ${poolAllowed('waiting.pool', 'waiting.project_id')} AS granted,
         EXISTS (SELECT 1 FROM pool WHERE pool.name = waiting.pool AND pool.cordoned) AS cordoned,
         COALESCE(accepting, 0) AS accepting, COALESCE(connected, 0) AS connected, COALESCE(free, 0) AS free, worker_version
       FROM waiting JOIN job ON job.id = oldest LEFT JOIN able ON able.pool = waiting.pool
       ORDER BY since LIMIT ${2 * MOST}`,
      [projectId, isAdmin, this.settings.leaseMs],
    );
    return rows.flatMap((row) => queueProblem(row) ?? []).slice(0, MOST);
  }
}

function queueProblem(row: QueueRow): Problem | null {
  const { pool, queued, project_id } = row;
  const waiting = queued === 1 ? '1 job waits' : `${queued} jobs wait`;
  const about = {
    since: unix(row.since),
    subject: { type: 'pool', id: pool, name: pool },
    project_id,
  } as const;
  if (!row.granted)
    return {
      code: 'pool_not_granted',
      severity: 'error',
      title: `${waiting} for pool ${pool}, which the project may no longer use`,
      action: 'Ask an administrator for a grant, or create the jobs in another pool',
      ...about,
    };
  if (row.cordoned)
    return {
      code: 'pool_cordoned',
      severity: 'warning',
      title: `${waiting} for pool ${pool}, which is cordoned`,
      action: 'Uncordon the pool to start its jobs',
      ...about,
    };
  if (row.accepting === 0) return { ...about, ...withoutWorkers(row, waiting) };
  if (row.worker_version !== null && row.worker_version < row.job_version)
    return {
      code: 'pool_outdated',
      severity: 'error',
      title: `${waiting} for pool ${pool}, whose workers are too old for them`,
      action: `Upgrade the workers of the pool to schema version ${row.job_version} or newer`,
      ...about,
    };
  return row.waited_ms < LONG_WAIT_MS ? null : longWait(row);
}

function withoutWorkers(
  { pool, connected }: QueueRow,
  waiting: string,
): Pick<Problem, 'code' | 'severity' | 'title' | 'action'> {
  return {
    code: 'pool_without_workers',
    severity: 'error',
    title: `${waiting} for pool ${pool}, ${connected > 0 ? 'whose workers accept no jobs' : 'which has no worker'}`,
    action:
      connected > 0
        ? 'Uncordon a worker of the pool, or add one'
        : 'Add a worker to the pool, or create the jobs in another pool',
  };
}

function longWait({ pool, queued, free, ...row }: QueueRow): Problem {
  const others = queued === 1 ? '' : ` (${queued} jobs wait there)`;
  return {
    code: 'job_waiting',
    severity: free > 0 ? 'warning' : 'info',
    title: `Job ${row.oldest_name} has waited for more than an hour in pool ${pool}${others}`,
    action:
      free > 0
        ? 'Slots are free, so the job may need more memory than they have; see why it waits'
        : 'All slots are busy: add a worker, or move the job to the front',
    since: unix(row.since),
    subject: { type: 'job', id: row.oldest, name: row.oldest_name },
    project_id: row.project_id,
  };
}
