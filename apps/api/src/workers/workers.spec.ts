import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertJobs, scratchDatabase, type ScratchDatabase } from '../../test/scratch-database.js';
import { until } from '../../test/fixture.js';
import type { Pools } from '../auth/pools.js';
import type { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import type { WorkerKeys } from './worker-keys.js';
import { Workers } from './workers.js';

let scratch: ScratchDatabase;
let database: WorkerDatabase;
let workers: Workers;
const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
  database.query<Row>(sql, values);

const pull = (freeSlots: number): Promise<void> =>
  workers.pulled(
    { workerId: 'worker', sessionId: 'session' },
    { freeSlots, residentBases: [], freeMemoryBytes: 1 },
  );
const slots = (): Promise<unknown[]> => ask('SELECT free_slots FROM worker');

beforeAll(async () => {
  scratch = await scratchDatabase();
  database = new WorkerDatabase(scratch.source);
  workers = new Workers(
    database,
    { leaseMs: 600_000 } as Settings,
    null as unknown as Pools,
    null as unknown as WorkerKeys,
  );
  await ask(`INSERT INTO join_token (id, hash, name) VALUES ('token', 'hash', 'token')`);
  await ask(
    `INSERT INTO worker (id, instance_id, name, pool, state, slots, free_slots, devices, memory_bytes, libtorch,
       trainer_build, join_token_id, session_id)
     VALUES ('worker', 'instance', 'worker', 'pool', 'online', 2, 2, '[]', 1, '', '', 'token', 'session')`,
  );
  await insertJobs(ask, [
    { id: 'held', project: 'a', state: 'running' },
    { id: 'given', project: 'a' },
  ]);
  await ask(`UPDATE job SET lease_owner = 'worker', attempt = 1 WHERE id = 'held'`);
});
afterAll(() => scratch?.close());

it('counts a job that is being assigned while the worker reports a free slot', async () => {
  await ask('UPDATE worker SET free_slots = 1');
  const giving = scratch.source.createQueryRunner();
  await giving.startTransaction();
  await giving.query('UPDATE worker SET free_slots = free_slots - 1');
  await giving.query(
    `UPDATE job SET state = 'running', lease_owner = 'worker', attempt = 1 WHERE id = 'given'`,
  );
  const pulled = pull(1);
  await until(async () => {
    const waiting = await ask(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return waiting.length > 0;
  });
  await giving.commitTransaction();
  await giving.release();
  await pulled;
  expect(await slots()).toEqual([{ free_slots: 0 }]);
});

it('frees the slots of finished jobs, up to the slots in the Hello message', async () => {
  await ask(`UPDATE job SET state = 'succeeded' WHERE id = 'given'`);
  await pull(7);
  expect(await slots()).toEqual([{ free_slots: 1 }]);
  await ask(`UPDATE job SET state = 'succeeded'`);
  await pull(7);
  expect(await slots()).toEqual([{ free_slots: 2 }]);
});

it('rejects a pull of a session that was replaced', async () => {
  await ask('UPDATE worker SET free_slots = 0');
  const other = { workerId: 'worker', sessionId: 'another' };
  const asked = workers.pulled(other, { freeSlots: 1, residentBases: [], freeMemoryBytes: 1 });
  await expect(asked).rejects.toThrow('has joined in its place');
  expect(await slots()).toEqual([{ free_slots: 0 }]);
});

describe('a heartbeat', () => {
  const beat = (session = 'session', draining = false) =>
    workers.beat(
      { workerId: 'worker', sessionId: session },
      {
        sequence: 1,
        leases: [
          { jobId: 'held', attempt: 1, step: 0 },
          { jobId: 'held', attempt: 2, step: 0 },
          { jobId: 'given', attempt: 1, step: 0 },
        ],
        freeSlots: 1,
        freeMemoryBytes: 1,
        residentBases: ['base'],
        rssBytes: 7,
        sentUnixMs: 0,
      },
      draining,
    );
  const lease = async (): Promise<boolean> => {
    const [row] = await ask<{ renewed: boolean }>(
      `SELECT COALESCE(lease_until > clock_timestamp(), false) AS renewed FROM job WHERE id = 'held'`,
    );
    return row?.renewed ?? false;
  };
  beforeEach(async () => {
    await ask(`UPDATE job SET state = 'succeeded', lease_owner = NULL WHERE id = 'given'`);
    await ask(
      `UPDATE job SET state = 'running', desired_state = 'run', lease_until = NULL WHERE id = 'held'`,
    );
    await ask(
      `UPDATE worker SET free_slots = 2, state = 'online', rss_bytes = NULL, last_seen_at = '2026-01-01'`,
    );
  });

  it('renews held leases, returns lost ones and stores the state of the worker', async () => {
    await ask(`UPDATE job SET desired_state = 'pause' WHERE id = 'held'`);
    const held = { jobId: 'held', attempt: 1, step: 0 };
    expect(await beat()).toEqual({
      held: [held],
      lost: [
        { jobId: 'held', attempt: 2, step: 0 },
        { jobId: 'given', attempt: 1, step: 0 },
      ],
      pausing: [held],
      preempting: [],
      ending: [],
      endsSoon: false,
      drains: false,
    });
    expect(await lease()).toBe(true);
    expect(
      await ask(
        `SELECT free_slots, state, rss_bytes::int AS rss, last_seen_at > '2026-01-02' AS seen FROM worker`,
      ),
    ).toEqual([{ free_slots: 1, state: 'online', rss: 7, seen: true }]);
  });

  it('changes nothing if the session was replaced or the join token revoked', async () => {
    await expect(beat('another')).rejects.toThrow('has joined in its place');
    await ask('UPDATE join_token SET revoked_at = clock_timestamp()');
    try {
      await expect(beat()).rejects.toThrow('the join token was revoked');
    } finally {
      await ask('UPDATE join_token SET revoked_at = NULL');
    }
    expect(await lease()).toBe(false);
    expect(await ask('SELECT rss_bytes FROM worker')).toEqual([{ rss_bytes: null }]);
  });

  it('skips a locked job, reports if its lease ends soon, and renews it later', async () => {
    await ask(
      `UPDATE job SET lease_until = clock_timestamp() + interval '1 hour' WHERE id = 'held'`,
    );
    const other = scratch.source.createQueryRunner();
    await other.startTransaction();
    await other.query(`SELECT 1 FROM job WHERE id = 'held' FOR UPDATE`);
    expect(await beat()).toMatchObject({ held: [{ jobId: 'held' }], endsSoon: false });
    await other.query(`UPDATE job SET lease_until = clock_timestamp() WHERE id = 'held'`);
    await other.commitTransaction();
    await other.startTransaction();
    await other.query(`SELECT 1 FROM job WHERE id = 'held' FOR UPDATE`);
    expect(await beat()).toMatchObject({ held: [{ jobId: 'held' }], endsSoon: true });
    expect(await lease()).toBe(false);
    // Code that blames a worker for a job updates the worker after the job.
    await other.query(`UPDATE worker SET cordon_reason = 'blamed'`);
    await other.commitTransaction();
    await other.release();
    expect(await beat()).toMatchObject({ held: [{ jobId: 'held' }], endsSoon: false });
    expect(await lease()).toBe(true);
    expect(await ask('SELECT cordon_reason, rss_bytes::int AS rss FROM worker')).toEqual([
      { cordon_reason: 'blamed', rss: 7 },
    ]);
  });
});
