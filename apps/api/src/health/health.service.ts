import { Inject, Injectable } from '@nestjs/common';
import type { OverviewObject, ReadyObject } from '@graft/contracts';
import { setTimeout } from 'node:timers/promises';
import { Answers } from '../chat/answers/answers.js';
import { BlobStore } from '../blobs/blob-store.js';
import { poolAllowed } from '../auth/pools.js';
import { isAdmin, type Principal } from '../auth/principal.js';
import { VERSION } from '../config.js';
import { Database } from '../database/database.js';
import { DISPATCH_QUEUE, type DispatchQueueRef } from '../queue/dispatch-queue-ref.js';
import { Connections } from '../relay/connections.js';
import { PoolLoad } from '../dispatch/pool-load.js';
import { WorkerGrpcServer } from '../worker-service/server.js';
import { WakeUps } from '../wake/wake-ups.js';
import { Counters } from '../metrics/counters.js';
import { OutsideMetrics } from './outside-metrics.js';
import { Readiness } from '../readiness.js';

/** SQL: jobs or workers of a pool that project $1 may use, or all for an administrator ($2). */
const seen = (table: 'job' | 'worker'): string => `($2 OR ${poolAllowed(`${table}.pool`, '$1')})`;

/** Timeout of the storage check. Load balancers wait one or two seconds for a response. */
const STORAGE_MS = 500;

@Injectable()
export class HealthService {
  private looking: Promise<void> | null = null;

  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
    private readonly wakeUps: WakeUps,
    private readonly connections: Connections,
    private readonly counters: Counters,
    private readonly load: PoolLoad,
    private readonly outside: OutsideMetrics,
    private readonly answers: Answers,
    private readonly workerServer: WorkerGrpcServer,
    private readonly readiness: Readiness,
    @Inject(DISPATCH_QUEUE) private readonly dispatch: DispatchQueueRef,
  ) {}

  async ready(): Promise<ReadyObject> {
    const ok = (work: Promise<unknown>): Promise<'ok' | 'down'> =>
      work.then(
        () => 'ok' as const,
        () => 'down' as const,
      );
    const [database, queue, storage] = await Promise.all([
      ok(this.database.query('SELECT 1')),
      ok(this.dispatch.queue.depth('default')),
      ok(this.storage()),
    ]);
    const notifications = this.wakeUps.alive ? 'ok' : 'down';
    return { process: this.readiness.state, database, queue, notifications, storage };
  }

  /**
   * Rejects if the blob store is unavailable or slow. Runs one check at a time because each may hang for a
   * long time.
   */
  private storage(): Promise<void> {
    this.looking ??= Promise.resolve()
      .then(() => this.blobs.checkStorage())
      .finally(() => (this.looking = null));
    return Promise.race([
      this.looking,
      setTimeout(STORAGE_MS, null, { ref: false }).then(() => {
        throw new Error('the blob store does not respond');
      }),
    ]);
  }

  /**
   * Metrics in the format of Prometheus. `graft_jobs` has labels only for pools that a worker has served,
   * because any job may name a pool.
   */
  async metrics(): Promise<string> {
    const { jobs, workers, connected, chats, registry } = this.counters;
    const [byPool, byState] = await Promise.all([
      this.database.query<{ pool: string; state: string; count: number }>(
        `SELECT CASE WHEN pool IN (SELECT pool FROM worker) THEN pool ELSE 'other' END AS pool, state,
           count(*)::int AS count FROM job WHERE deleted_at IS NULL GROUP BY 1, 2`,
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
    const { inProgress, waiting } = this.answers.counts;
    chats.set({ state: 'in_progress' }, inProgress);
    chats.set({ state: 'waiting' }, waiting);
    await this.poolMetrics();
    await this.outside.read();
    return registry.metrics();
  }

  private async poolMetrics(): Promise<void> {
    const { queueDepth, queueWait, poolWorkers, poolSlots, poolFreeSlots, poolWanted } =
      this.counters;
    for (const gauge of [queueDepth, queueWait, poolWorkers, poolSlots, poolFreeSlots, poolWanted])
      gauge.reset();
    const named = await this.load.now();
    // Unserved pools are included because autoscalers use these metrics to start the first worker of a
    // pool.
    for (const { pool, queued, longest } of [
      ...named.values(),
      ...(await this.load.unregisteredPools()),
    ]) {
      queueDepth.set({ pool }, queued);
      queueWait.set({ pool }, longest ?? 0);
      poolWanted.set({ pool }, await this.load.wanted(pool));
    }
    for (const load of named.values()) {
      const { pool } = load;
      for (const state of ['online', 'draining', 'cordoned', 'offline'] as const)
        poolWorkers.set({ pool, state }, load[state]);
      poolSlots.set({ pool }, load.slots);
      poolFreeSlots.set({ pool }, load.free_slots);
    }
  }

  async overview(caller: Principal): Promise<OverviewObject> {
    const jobs = await this.database.query<{ state: string; count: number; recent: number }>(
      `SELECT state, count(*)::int AS count,
         (count(*) FILTER (WHERE finished_at > now() - interval '24 hours'))::int AS recent
       FROM job WHERE project_id = $1 AND deleted_at IS NULL GROUP BY state`,
      [caller.projectId],
    );
    const [workers] = await this.database.query<{ online: number; slots: number; busy: number }>(
      `SELECT (count(*) FILTER (WHERE state = 'online'))::int AS online,
         COALESCE(sum(slots), 0)::int AS slots,
         (SELECT count(*)::int FROM job WHERE state = 'running' AND ${seen('job')}) AS busy
       FROM worker WHERE state <> 'offline' AND ${seen('worker')}`,
      [caller.projectId, isAdmin(caller)],
    );
    return {
      object: 'graft.overview',
      version: VERSION,
      queue_backend: this.dispatch.queue.backend,
      jobs: Object.fromEntries(jobs.map(({ state, count }) => [state, count])),
      failed_24h: jobs.find(({ state }) => state === 'failed')?.recent ?? 0,
      workers_online: workers?.online ?? 0,
      slots: workers?.slots ?? 0,
      slots_busy: workers?.busy ?? 0,
      gateway: this.workerServer.address,
    };
  }
}
