import { Injectable } from '@nestjs/common';
import { DomainError, type Page, type WorkerObject } from '@graft/contracts';
import { Settings } from '../config.js';
import { poolAllowed } from '../auth/pools.js';
import { isAdmin, type Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Worker } from '../database/entities/dispatch.js';
import type { PageQuery } from '../http/parse.js';
import { unix } from '../ids.js';

/** SQL of the sort key: online workers first, then draining ones, then offline ones. */
const PLACE = `CASE state WHEN 'online' THEN 0 WHEN 'draining' THEN 1 ELSE 2 END, connected_at, id`;

const SILENT = `EXTRACT(EPOCH FROM clock_timestamp() - last_seen_at)::float8 AS silent`;

/** Row as the driver returns it: 64-bit integers as text. */
type WorkerRow = Omit<Worker, 'memory_bytes' | 'rss_bytes'> & {
  /** Seconds since its last heartbeat, by the database's clock. */
  readonly silent: number;
  readonly memory_bytes: string;
  readonly rss_bytes: string | null;
};

interface JobRow {
  readonly id: string;
  readonly attempt: number;
  readonly step: number;
  readonly lease_owner: string;
}

/** Workers of the pools that the caller's project may use. Only the project's own jobs are included. */
@Injectable()
export class WorkerList {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  /** Lists online workers first. */
  async list(caller: Principal, { limit, after }: PageQuery): Promise<Page<WorkerObject>> {
    const found = await this.database.query<WorkerRow>(
      `SELECT *, ${SILENT} FROM worker WHERE ($2 OR ${poolAllowed('worker.pool', '$1')})
         AND ($3::text IS NULL OR (${PLACE}) > (SELECT ${PLACE} FROM worker WHERE id = $3))
       ORDER BY ${PLACE} LIMIT $4`,
      [caller.projectId, isAdmin(caller), after, limit + 1],
    );
    const data = await this.objects(caller, found.slice(0, limit));
    return { object: 'list', data, has_more: found.length > limit };
  }

  /** Returns any worker, for administrators. */
  async get(caller: Principal, id: string): Promise<WorkerObject> {
    const rows = await this.database.query<WorkerRow>(
      `SELECT *, ${SILENT} FROM worker WHERE id = $1`,
      [id],
    );
    const [worker] = await this.objects(caller, rows);
    if (!worker) throw noSuchWorker(id);
    return worker;
  }

  private async objects(caller: Principal, rows: readonly WorkerRow[]): Promise<WorkerObject[]> {
    const jobs = await this.database.query<JobRow>(
      `SELECT id, attempt, step, lease_owner FROM job WHERE state = 'running' AND project_id = $1`,
      [caller.projectId],
    );
    const silentAfter = (2 * this.settings.heartbeatMs) / 1000;
    return rows.map((row) => workerObject(row, jobs, silentAfter));
  }
}

export const noSuchWorker = (id: string): DomainError =>
  new DomainError('not_found', `no such worker: ${id.slice(0, 80)}`, 'worker');

const workerObject = (
  row: WorkerRow,
  jobs: readonly JobRow[],
  silentAfter: number,
): WorkerObject => ({
  object: 'graft.worker',
  id: row.id,
  name: row.name,
  pool: row.pool,
  state: row.state,
  cordoned: row.cordoned,
  cordon_reason: row.cordoned ? row.cordon_reason : null,
  connected_at: unix(row.connected_at),
  last_seen_at: unix(row.last_seen_at),
  silent_seconds: row.silent < silentAfter ? null : Math.round(row.silent),
  slots: row.slots,
  free_slots: row.free_slots,
  devices: row.devices,
  memory_bytes: Number(row.memory_bytes),
  rss_bytes: row.rss_bytes === null ? null : Number(row.rss_bytes),
  resident_bases: row.resident_bases,
  libtorch: row.libtorch,
  speed: row.speed,
  schema_version: row.schema_version,
  jobs: jobs
    .filter((job) => job.lease_owner === row.id)
    .map(({ id, attempt, step }) => ({ id, attempt, step })),
});
