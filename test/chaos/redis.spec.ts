// The queue's Redis is emptied, or stops and comes back empty. Every job still runs exactly once.
import type { Assignment } from '@graft/contracts/grpc';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { haveRedisServer, RedisServer } from './redis-server.js';

if (!haveRedisServer) console.warn('skipped: redis-server is not installed');

const JOBS = 12;
/** Long, so that a slow machine does not look like a lost worker. */
const LEASE_MS = 15_000;
const BEAT_MS = 500;
/** Longer than the API waits for a response from the queue. */
const OUTAGE_MS = 6000;
const RECOVERY_MS = 60_000;

describe.skipIf(!haveRedisServer)('the queue', { timeout: 300_000 }, () => {
  let redis: RedisServer;
  let api: TestApi;
  let file: string;
  const workers: Diligent[] = [];

  beforeAll(async () => {
    redis = await RedisServer.start();
    api = await startTestApi({ queueUrl: redis.url, leaseMs: LEASE_MS, reconcileMs: 300 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterEach(() => {
    for (const worker of workers.splice(0)) worker.end();
  });
  afterAll(async () => {
    await api?.close();
    await redis?.remove();
  });

  async function create(pool: string): Promise<string> {
    const body = { model: 'tiny', training_file: file, graft: { pool } };
    const response = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
      method: 'POST',
      headers: { ...api.headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
    expect(response.status).toBe(200);
    return ((await response.json()) as { id: string }).id;
  }

  async function work(pool: string): Promise<void> {
    for (const name of ['one', 'two']) workers.push(await Diligent.start(api, pool, name));
  }

  /** A lost queue entry is issued again after one lease. This makes jobs look as if they had waited that long. */
  const age = (ids: readonly string[]): Promise<unknown> =>
    api.query(
      `UPDATE job SET updated_at = updated_at - interval '1 minute'
       WHERE id = ANY($1) AND state = 'queued' AND updated_at > clock_timestamp() - $2 * interval '1 millisecond'`,
      [ids, LEASE_MS],
    );

  async function eachRanOnce(ids: readonly string[]): Promise<void> {
    await until(async () => {
      await age(ids);
      const [row] = await api.query<{ open: number }>(
        `SELECT count(*)::int AS open FROM job WHERE id = ANY($1) AND state <> 'succeeded'`,
        [ids],
      );
      return row?.open === 0;
    }, RECOVERY_MS);
    const attempts = await api.query(
      'SELECT job_id, outcome FROM attempt WHERE job_id = ANY($1) ORDER BY job_id',
      [ids],
    );
    expect(attempts).toEqual([...ids].sort().map((job_id) => ({ job_id, outcome: 'done' })));
    const models = await api.query('SELECT 1 FROM model WHERE job_id = ANY($1)', [ids]);
    expect(models).toHaveLength(ids.length);
    const taken = workers.flatMap((worker) => worker.taken);
    expect(taken.sort()).toEqual([...ids].sort());
    // an entry is completed after its job's attempt has started, and Redis may have been unavailable
    await until(async () => (await redis.stuck()).length === 0, RECOVERY_MS);
  }

  it('loses no job and runs none twice if it is emptied under load', async () => {
    const ids = await Promise.all(Array.from({ length: JOBS }, () => create('flushed')));
    await redis.flushAll();
    await work('flushed');
    await until(async () => {
      await age(ids);
      return workers.some((worker) => worker.taken.length > 0);
    }, RECOVERY_MS);
    await redis.flushAll();
    await eachRanOnce(ids);
  });

  const queueState = async (): Promise<string> => {
    const response = await fetch(`${api.url}/readyz`);
    return ((await response.json()) as { queue: string }).queue;
  };

  it.each([
    { back: 'empty', empty: true, outageMs: OUTAGE_MS },
    { back: 'with all its data', empty: false, outageMs: 0 },
  ])(
    'accepts jobs while it is unavailable, and runs them when it is back $back',
    async ({ empty, outageMs }) => {
      const pool = `down-${empty}`;
      const before = await Promise.all(Array.from({ length: 4 }, () => create(pool)));
      await redis.kill();
      await work(pool);
      const meanwhile: string[] = [];
      for (let n = 0; n < 4; n++) meanwhile.push(await create(pool));
      expect(await api.get('/overview')).toBeTruthy();
      await until(async () => (await queueState()) === 'down', RECOVERY_MS);
      await new Promise((resolve) => setTimeout(resolve, outageMs));
      meanwhile.push(await create(pool));
      await redis.start({ empty });
      const after = await create(pool);
      await eachRanOnce([...before, ...meanwhile, after]);
    },
  );

  it('does not affect running jobs if it is unavailable', async () => {
    await work('busy');
    for (const worker of workers) worker.slow = true;
    const ids = [await create('busy'), await create('busy')];
    await until(() => workers.every((worker) => worker.taken.length === 1), RECOVERY_MS);
    await redis.kill();
    await until(async () => (await queueState()) === 'down', RECOVERY_MS);
    const leases = (): Promise<{ until: number }[]> =>
      api.query(
        'SELECT EXTRACT(EPOCH FROM lease_until)::float8 AS until FROM job WHERE id = ANY($1) ORDER BY id',
        [ids],
      );
    const before = await leases();
    await until(async () => {
      const now = await leases();
      return now.every((lease, n) => lease.until > (before[n]?.until ?? Infinity) + 1);
    }, RECOVERY_MS);
    for (const worker of workers) worker.slow = false;
    await until(async () => {
      const jobs = await api.query<{ state: string }>('SELECT state FROM job WHERE id = ANY($1)', [
        ids,
      ]);
      return jobs.every(({ state }) => state === 'succeeded');
    }, RECOVERY_MS);
    await redis.start();
    await eachRanOnce(ids);
  });
});

/** Worker that renews its leases and finishes every job, one at a time. */
class Diligent {
  readonly taken: string[] = [];
  slow = false;
  private lease: Assignment | null = null;
  private over = false;
  private readonly beats: NodeJS.Timeout;

  private constructor(private readonly worker: ScriptedWorker) {
    this.beats = setInterval(() => {
      const leases = this.lease ? [{ ...this.lease, step: 1 }] : [];
      void worker.heartbeat(leases).catch(() => undefined);
    }, BEAT_MS);
  }

  static async start(api: TestApi, pool: string, name: string): Promise<Diligent> {
    const diligent = new Diligent(await new ScriptedWorker(api, { pool, name }).connect());
    void diligent.work();
    return diligent;
  }

  end(): void {
    this.over = true;
    clearInterval(this.beats);
    this.worker.vanish();
  }

  private async work(): Promise<void> {
    while (!this.over) {
      const next = await this.worker.nextAssignment().catch(() => null);
      if (!next) continue;
      this.lease = next;
      this.taken.push(next.jobId);
      await this.worker.report(next, started(), step(1));
      while (this.slow && !this.over) await new Promise((resolve) => setTimeout(resolve, 50));
      await this.worker.finish(next, 10);
      this.lease = null;
    }
  }
}
