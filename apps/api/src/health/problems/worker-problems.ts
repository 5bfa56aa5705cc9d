import { Injectable } from '@nestjs/common';
import { poolAllowed } from '../../auth/pools.js';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { unix } from '../../ids.js';
import { acceptsJobs } from '../../lifecycle/lease/fit-worker.js';
import { MOST, type Problem, type Viewer } from './problem.js';

interface WorkerRow {
  readonly id: string;
  readonly name: string;
  readonly pool: string;
  readonly state: 'online' | 'draining' | 'offline';
  readonly cordon_reason: string | null;
  readonly last_seen_at: Date;
  /** Whether another worker of the pool accepts jobs. */
  readonly replaced: boolean;
}

/** Workers that are silent, offline or cordoned by Graft. Workers that were asked to drain are not reported. */
@Injectable()
export class WorkerProblems {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  async of({ projectId, isAdmin }: Viewer): Promise<Problem[]> {
    const { leaseMs, heartbeatMs } = this.settings;
    const rows = await this.database.query<WorkerRow>(
      `WITH able AS (SELECT DISTINCT pool FROM worker WHERE ${acceptsJobs('$3')})
       SELECT id, name, pool, state, CASE WHEN cordoned THEN cordon_reason END AS cordon_reason, last_seen_at,
         pool IN (SELECT pool FROM able) AS replaced
       FROM worker WHERE ($2 OR ${poolAllowed('worker.pool', '$1')})
         AND (drain_instance IS NULL OR drain_instance <> instance_id)
         AND (state = 'offline' OR last_seen_at < clock_timestamp() - $4 * interval '1 millisecond'
           OR (cordoned AND cordon_reason IS NOT NULL))
       ORDER BY last_seen_at DESC LIMIT ${MOST}`,
      [projectId, isAdmin, leaseMs, 2 * heartbeatMs],
    );
    return rows.map(workerProblem);
  }
}

function workerProblem(row: WorkerRow): Problem {
  const { id, name, pool, state } = row;
  const about = {
    since: unix(row.last_seen_at),
    subject: { type: 'worker', id, name },
    project_id: null,
  } as const;
  if (state === 'offline')
    return {
      code: 'worker_offline',
      severity: row.replaced ? 'info' : 'warning',
      title: `Worker ${name} of pool ${pool} is offline`,
      action: row.replaced
        ? 'Start it again if you need its slots, or remove it; other workers of the pool run its jobs'
        : 'Start it again; no other worker of the pool accepts jobs',
      ...about,
    };
  if (row.cordon_reason !== null)
    return {
      code: 'worker_cordoned',
      severity: 'warning',
      title: `Worker ${name} of pool ${pool} is cordoned: ${row.cordon_reason}`,
      action: 'Check the machine, then uncordon the worker',
      ...about,
    };
  return {
    code: 'worker_silent',
    severity: 'warning',
    title: `Worker ${name} of pool ${pool} sends no heartbeats`,
    action:
      'Check the machine and its network; if it stays silent, its jobs resume on another worker',
    ...about,
  };
}
