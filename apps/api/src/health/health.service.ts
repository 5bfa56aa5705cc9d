import { Inject, Injectable } from '@nestjs/common';
import type { OverviewObject, Page, WorkerObject } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { VERSION } from '../config.js';
import { Database } from '../database/database.js';
import { Worker } from '../database/entities/dispatch.js';
import { HINTS, type HintQueueRef } from '../dispatch/hints.js';
import { Connections } from '../gateway/connections.js';
import { Gateway } from '../gateway/gateway.js';
import { unix } from '../ids.js';
import { Notifications } from '../stream/notifications.js';
import { Counters } from './counters.js';

type Parts = Readonly<Record<'database' | 'queue' | 'notifications', 'ok' | 'down'>>;

@Injectable()
export class HealthService {
  constructor(
    private readonly database: Database,
    private readonly notifications: Notifications,
    private readonly connections: Connections,
    private readonly counters: Counters,
    private readonly gateway: Gateway,
    @Inject(HINTS) private readonly hints: HintQueueRef,
  ) {}

  async ready(): Promise<Parts> {
    const ok = (work: Promise<unknown>): Promise<'ok' | 'down'> =>
      work.then(
        () => 'ok' as const,
        () => 'down' as const,
      );
    const [database, queue] = await Promise.all([
      ok(this.database.query('SELECT 1')),
      ok(this.hints.queue.depth('default')),
    ]);
    return { database, queue, notifications: this.notifications.alive ? 'ok' : 'down' };
  }

  /** Anyone may name a pool, so that only those that some worker has served get a label of their own. */
  async metrics(): Promise<string> {
    const { jobs, workers, connected, registry } = this.counters;
    const [byPool, byState] = await Promise.all([
      this.database.query<{ pool: string; state: string; count: number }>(
        `SELECT CASE WHEN pool IN (SELECT pool FROM worker) THEN pool ELSE 'other' END AS pool, state,
           count(*)::int AS count FROM job GROUP BY 1, 2`,
      ),
      this.database.query<{ state: string; count: number }>(
        'SELECT state, count(*)::int AS count FROM worker GROUP BY state',
      ),
    ]);
    jobs.reset();
    workers.reset();
    for (const { pool, state, count } of byPool) jobs.set({ pool, state }, count);
    for (const { state, count } of byState) workers.set({ state }, count);
    connected.set(this.connections.all().length);
    return registry.metrics();
  }

  async overview(caller: Principal): Promise<OverviewObject> {
    const jobs = await this.database.query<{ state: string; count: number; recent: number }>(
      `SELECT state, count(*)::int AS count,
         (count(*) FILTER (WHERE finished_at > now() - interval '24 hours'))::int AS recent
       FROM job WHERE project_id = $1 GROUP BY state`,
      [caller.projectId],
    );
    const [workers] = await this.database.query<{ online: number; slots: number; busy: number }>(
      `SELECT (count(*) FILTER (WHERE state = 'online'))::int AS online,
         COALESCE(sum(slots), 0)::int AS slots,
         (SELECT count(*)::int FROM job WHERE state = 'running') AS busy
       FROM worker WHERE state <> 'offline'`,
    );
    return {
      object: 'graft.overview',
      version: VERSION,
      queue_backend: this.hints.queue.backend,
      jobs: Object.fromEntries(jobs.map(({ state, count }) => [state, count])),
      failed_24h: jobs.find(({ state }) => state === 'failed')?.recent ?? 0,
      workers_online: workers?.online ?? 0,
      slots: workers?.slots ?? 0,
      slots_busy: workers?.busy ?? 0,
      gateway: this.gateway.address,
    };
  }

  /** All workers; of their jobs only the caller's own. */
  async workers(caller: Principal): Promise<Page<WorkerObject>> {
    const rows = await this.database.manager
      .getRepository(Worker)
      .find({ order: { state: 'DESC', connected_at: 'ASC' }, take: 500 });
    const jobs = await this.database.query<{
      id: string;
      epoch: number;
      step: number;
      lease_owner: string;
    }>(`SELECT id, epoch, step, lease_owner FROM job WHERE state = 'running' AND project_id = $1`, [
      caller.projectId,
    ]);
    const data = rows.map((row): WorkerObject => ({
      object: 'graft.worker',
      id: row.id,
      name: row.name,
      pool: row.pool,
      state: row.state,
      connected_at: unix(row.connected_at),
      last_seen_at: unix(row.last_seen_at),
      slots: row.slots,
      free_slots: row.free_slots,
      devices: row.devices,
      memory_bytes: row.memory_bytes,
      rss_bytes: row.rss_bytes,
      resident_bases: row.resident_bases,
      libtorch: row.libtorch,
      jobs: jobs
        .filter((job) => job.lease_owner === row.id)
        .map(({ id, epoch, step }) => ({ id, epoch, step })),
    }));
    return { object: 'list', data, has_more: false };
  }
}
