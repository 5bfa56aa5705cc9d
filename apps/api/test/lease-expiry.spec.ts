// GRAFT_LOST_ENTRIES: number of queue entries that are lost and issued again.
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { REDIS_PORT } from '../../../test/servers.js';
import {
  importBase,
  listens,
  REDIS,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

// A dead worker's job continues whatever else hangs; a live worker's lease never expires because of an API
// outage.

const LEASE_MS = 1500;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('leases', () => {
  let api: TestApi;
  let file: string;
  let pools = 0;
  const others: ChildProcess[] = [];

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: LEASE_MS, reconcileMs: 200 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterEach(() => {
    for (const other of others.splice(0)) other.kill('SIGKILL');
  });
  afterAll(async () => {
    await api?.close();
  });

  /** Starts a job on a worker in its own pool. */
  async function running(on: Pick<TestApi, 'grpcUrl' | 'joinToken'> = api) {
    const pool = `pool-${pools++}`;
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool },
    });
    const worker = await new ScriptedWorker(on as TestApi, { pool }).connect();
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(), step(1));
    return { id, pool, worker, lease };
  }

  const outcomes = async (id: string): Promise<(string | null)[]> =>
    (
      await api.query<{ outcome: string | null }>(
        'SELECT outcome FROM attempt WHERE job_id = $1 ORDER BY number',
        [id],
      )
    ).map(({ outcome }) => outcome);
  const isTaken = async (id: string) => (await outcomes(id))[0] === 'lost_worker';
  const cancel = (id: string) => api.post(`/fine_tuning/jobs/${id}/cancel`);

  /** Starts another API process of the same installation. */
  async function another() {
    const config = { ...api.config, leaseMs: LEASE_MS, reconcileMs: 200 };
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('process.mjs', import.meta.url)), JSON.stringify(config)],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    others.push(child);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await until(() => /^ready .*\n/m.test(text), 30_000);
    const where = JSON.parse(/^ready (.*)\n/m.exec(text)?.[1] ?? '') as TestApi;
    return { child, where };
  }

  it('expire even if reconciliation hangs', async () => {
    const { id, worker } = await running();
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    try {
      // Every reconciliation waits here until its lock timeout, and then fails.
      await client.query('BEGIN; LOCK TABLE idempotency IN ACCESS EXCLUSIVE MODE');
      worker.vanish();
      await until(() => isTaken(id));
    } finally {
      await client.query('ROLLBACK');
      await client.end();
    }
    await cancel(id);
  });

  it('expire even if another one is locked, which expires after the lock is released', async () => {
    const first = await running();
    const second = await running();
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    try {
      await client.query('BEGIN');
      await client.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [first.id]);
      first.worker.vanish();
      second.worker.vanish();
      await until(() => isTaken(second.id));
      expect(await outcomes(first.id)).toEqual([null]);
    } finally {
      await client.query('ROLLBACK');
      await client.end();
    }
    await until(() => isTaken(first.id));
    await cancel(first.id);
    await cancel(second.id);
  });

  it('are extended if the only API is suspended, by one lease duration', async () => {
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool: 'alone' },
    });
    await api.restart(async () => {
      const { child, where } = await another();
      const worker = await new ScriptedWorker(where, { pool: 'alone' }).connect();
      worker.keep(await worker.nextAssignment());
      child.kill('SIGSTOP');
      await pause(1.4 * LEASE_MS);
      const [row] = await api.query<{ over: boolean }>(
        'SELECT lease_until < clock_timestamp() AS over FROM job WHERE id = $1',
        [id],
      );
      expect(row).toEqual({ over: true });
      child.kill('SIGCONT');
      await pause(1.5 * LEASE_MS);
      expect(await outcomes(id)).toEqual([null]);
      worker.vanish();
      child.kill('SIGKILL');
    });
    await cancel(id);
  });

  it('expire even if another API process is suspended repeatedly', async () => {
    const { child } = await another();
    let over = false;
    const flapping = (async () => {
      while (!over) {
        child.kill('SIGSTOP');
        await pause(LEASE_MS * 0.8);
        child.kill('SIGCONT');
        await pause(LEASE_MS * 0.2);
      }
    })();
    await pause(2 * LEASE_MS);
    const { id, worker } = await running();
    worker.vanish();
    await until(() => isTaken(id));
    over = true;
    await flapping;
    await cancel(id);
  });

  it('of workers whose API process died are extended by one lease duration', async () => {
    const { id, worker } = await running();
    worker.vanish();
    const seen = (ago: string) =>
      api.query(
        `INSERT INTO gateway (id, address, last_seen_at) VALUES ('dead', '', clock_timestamp() - $1::interval)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at`,
        [ago],
      );
    await seen('0.7 s');
    await api.query(
      `UPDATE worker SET gateway_id = 'dead' WHERE id = (SELECT lease_owner FROM job WHERE id = $1)`,
      [id],
    );
    await api.query(
      `UPDATE job SET lease_until = clock_timestamp() - interval '9 s' WHERE id = $1`,
      [id],
    );
    await pause(LEASE_MS);
    expect(await outcomes(id)).toEqual([null]);
    await until(() => isTaken(id));
    await cancel(id);
  });

  it('stay valid while a slow database writes the events of their job one by one', async () => {
    const { id, worker, lease } = await running();
    worker.keep(lease);
    await api.query(`CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END'`);
    await api.query(`CREATE TRIGGER slowly BEFORE UPDATE OF last_sequence ON attempt
      FOR EACH ROW EXECUTE FUNCTION slowly()`);
    try {
      // Expiry was suspended a moment ago, so it is not suspended again for a single process.
      await api.query(`UPDATE installation SET expire_after = clock_timestamp()`);
      const over = performance.now() + 3 * LEASE_MS;
      const end = async (): Promise<number> =>
        (
          await api.query<{ until: number }>(
            'SELECT EXTRACT(EPOCH FROM lease_until)::float8 AS until FROM job WHERE id = $1',
            [id],
          )
        )[0]?.until ?? NaN;
      let before = await end();
      for (let n = 2; performance.now() < over; n++) {
        await worker.report(lease, step(n));
        const now = await end();
        expect(now).toBeGreaterThan(before);
        before = now;
      }
      expect(await outcomes(id)).toEqual([null]);
    } finally {
      await api.query('DROP FUNCTION slowly CASCADE');
    }
    worker.vanish();
    await until(() => isTaken(id));
    await cancel(id);
  });

  it('expire even if a fast clock set expire_after or lease_until far in the future', async () => {
    const { id, worker } = await running();
    worker.vanish();
    await api.query(`UPDATE installation SET expire_after = clock_timestamp() + interval '1 hour'`);
    await api.query(
      `UPDATE job SET lease_until = clock_timestamp() + interval '1 hour' WHERE id = $1`,
      [id],
    );
    await until(() => isTaken(id));
    await cancel(id);
  });
});

// A migration or another lock on the tables of lease renewals keeps workers from renewing; they must not lose
// their leases.
describe('leases that could not be renewed', () => {
  const LONGER_MS = 4000;
  const WORKERS = ['a', 'b', 'c'];
  let api: TestApi;
  let beside: TestApi;
  let file: string;

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: LONGER_MS, reconcileMs: 200 });
    beside = await startTestApi({ beside: api });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(async () => {
    await beside?.close();
    await api?.close();
  });

  const open = async (): Promise<string[]> =>
    (await api.query<{ job_id: string }>('SELECT job_id FROM attempt WHERE outcome IS NULL')).map(
      ({ job_id }) => job_id,
    );

  /** Returns after an API process has checked for expired leases `times` times. */
  async function checks(times: number): Promise<void> {
    const seen = new Set<string>();
    await until(async () => {
      const [row] = await api.query<{ at: string }>(
        'SELECT watched_at::text AS at FROM installation',
      );
      seen.add(row?.at ?? '');
      return seen.size > times;
    });
  }

  it.each(['job', 'worker'])(
    'stay valid while "%s" is locked, and for one lease duration afterwards',
    async (table) => {
      const runs = await Promise.all(
        WORKERS.map(async (name, n) => {
          const pool = `${table}-${name}`;
          const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
            model: 'tiny',
            training_file: file,
            graft: { pool },
          });
          const at = n % 2 === 0 ? api : beside;
          const worker = await new ScriptedWorker(at, { pool, instance: pool }).connect();
          const lease = await worker.nextAssignment();
          worker.keep(lease);
          await worker.report(lease, started(), step(1));
          return { id, at, pool, worker, lease: { jobId: id, attempt: lease.attempt, step: 1 } };
        }),
      );
      const ids = runs.map(({ id }) => id);
      const client = new pg.Client({ connectionString: api.databaseUrl });
      await client.connect();
      try {
        await client.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
        // The heartbeats time out in the database, and the API ends the streams.
        await until(() => runs.every(({ worker }) => worker.ended !== null), 30_000);
        await until(async () => {
          const { rows } = await client.query(
            `SELECT 1 FROM job WHERE id = ANY($1) AND lease_until < clock_timestamp() - interval '1.5 s'`,
            [ids],
          );
          return rows.length === ids.length;
        });
      } finally {
        await client.query('ROLLBACK');
        await client.end();
      }
      // The workers reconnect later.
      await checks(3);
      expect(await open()).toEqual(expect.arrayContaining(ids));
      const [first, ...others] = runs;
      const back = await Promise.all(
        others.map(({ at, pool, lease }) =>
          new ScriptedWorker(at, { pool, instance: pool, leases: [lease] }).connect(),
        ),
      );
      for (const [n, { lease }] of others.entries()) {
        back[n]?.keep(lease);
        expect((await back[n]?.heartbeat([lease]))?.held).toHaveLength(1);
      }
      // A worker that does not reconnect loses its lease.
      await until(async () => !(await open()).includes(first?.id ?? ''), 30_000);
      expect(await open()).toEqual(expect.arrayContaining(others.map(({ id }) => id)));
      for (const worker of [...runs.map(({ worker }) => worker), ...back]) worker.vanish();
      for (const id of ids) await api.post(`/fine_tuning/jobs/${id}/cancel`);
    },
  );

  it('are renewed while another job of the worker is locked, and that lease stays valid too', async () => {
    const pool = 'row';
    const jobs = await Promise.all(
      ['locked', 'free'].map(() =>
        api.post<{ id: string }>('/fine_tuning/jobs', {
          model: 'tiny',
          training_file: file,
          graft: { pool },
        }),
      ),
    );
    const worker = await new ScriptedWorker(api, { pool, instance: pool }).connect();
    const leases = [await worker.nextAssignment(), await worker.nextAssignment()];
    for (const lease of leases) {
      await worker.report(lease, started(), step(1));
      worker.keep(lease);
    }
    // Long after expiry was last suspended for a single process.
    await api.query(`UPDATE installation SET expire_after = '-infinity'`);
    const [locked, free] = leases.map(({ jobId }) => jobId);
    const left = async (id?: string): Promise<number> => {
      const [row] = await api.query<{ ms: number }>(
        'SELECT EXTRACT(EPOCH FROM lease_until - clock_timestamp())::float8 * 1000 AS ms FROM job WHERE id = $1',
        [id],
      );
      return row?.ms ?? NaN;
    };
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    try {
      await client.query('BEGIN');
      await client.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [locked]);
      await until(async () => (await left(locked)) < -1_200);
      expect(await left(free)).toBeGreaterThan(0);
      const { held } = await worker.heartbeat(leases.map((lease) => ({ ...lease, step: 1 })));
      expect(held).toHaveLength(2);
    } finally {
      await client.query('ROLLBACK');
      await client.end();
    }
    await until(async () => (await left(locked)) > 0);
    expect(await open()).toEqual(expect.arrayContaining([locked, free]));
    worker.vanish();
    for (const { id } of jobs) await api.post(`/fine_tuning/jobs/${id}/cancel`);
  });
});

describe.skipIf(!(await listens(REDIS_PORT)))('a queue that lost all entries', () => {
  const JOBS = Number(process.env['GRAFT_LOST_ENTRIES'] ?? 2_000);

  it(`issues all ${JOBS} entries again`, async () => {
    const api = await startTestApi({ redis: true });
    const redis = new Redis(REDIS);
    try {
      await importBase(api);
      const training_file = await uploadChats(api);
      const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file,
      });
      const columns = (
        await api.query<{ name: string }>(
          `SELECT column_name AS name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'job' AND column_name NOT IN ('id', 'updated_at')`,
        )
      ).map(({ name }) => `"${name}"`);
      await api.query(
        `INSERT INTO job (id, updated_at, ${columns.join(', ')})
         SELECT 'ftjob-' || n, now() - interval '1 minute', ${columns.join(', ')} FROM job, generate_series(2, ${JOBS}) n WHERE id = $1`,
        [id],
      );
      const prefix = api.config.queuePrefix;
      const entries = async (): Promise<number> => {
        const [waiting, prioritized] = await Promise.all([
          redis.llen(`${prefix}:${prefix}-default:wait`),
          redis.zcard(`${prefix}:${prefix}-default:prioritized`),
        ]);
        return waiting + prioritized;
      };
      // Entries are issued only for a pool with a worker.
      await pause(4000);
      expect(await entries()).toBe(1);
      for (const key of await redis.keys(`${prefix}*`)) await redis.unlink(key);
      const worker = await new ScriptedWorker(api).connect();
      await until(async () => (await entries()) >= JOBS - 1, 60_000);
      worker.vanish();
    } finally {
      redis.disconnect();
      await api.close();
    }
  });
});
