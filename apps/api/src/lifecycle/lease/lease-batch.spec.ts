import { SCHEMA_VERSION } from '@graft/contracts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  insertJobs,
  randomFrom,
  scratchDatabase,
  type ScratchDatabase,
} from '../../../test/scratch-database.js';
import type { Settings } from '../../config.js';
import { WorkerDatabase } from '../../database/database.js';
import type { WakeUps } from '../../wake/wake-ups.js';
import { LeaseBatch, match, type NextJob } from './lease-batch.js';
import { Leases } from './lease.js';

const worker = (
  n: number,
  freeSlots: number,
  residentBases: string[] = [],
  schemaVersion = SCHEMA_VERSION,
) => ({
  workerId: `w${n}`,
  sessionId: `s${n}`,
  name: `worker ${n}`,
  pool: 'pool',
  residentBases,
  freeSlots,
  schemaVersion,
});

describe('leases of several jobs', () => {
  let scratch: ScratchDatabase;
  let database: WorkerDatabase;
  let leases: Leases;
  let batches: LeaseBatch;
  const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    database.query<Row>(sql, values);

  beforeAll(async () => {
    scratch = await scratchDatabase();
    database = new WorkerDatabase(scratch.source);
    const wakeUps = { announce: () => undefined } as unknown as WakeUps;
    leases = new Leases(database, { leaseMs: 600_000 } as Settings, wakeUps);
    batches = new LeaseBatch(database, { leaseMs: 600_000 } as Settings, wakeUps);
    await ask(`INSERT INTO join_token (id, hash, name) VALUES ('token', 'hash', 'token')`);
  });
  afterAll(() => scratch?.close());
  beforeEach(async () => {
    await ask('TRUNCATE project, job, attempt, pool_use, worker, pool');
    for (const n of [1, 2, 3])
      await ask(
        `INSERT INTO worker (id, instance_id, name, pool, state, slots, free_slots, devices, memory_bytes, libtorch,
           trainer_build, join_token_id, session_id)
         VALUES ($1, $1, 'worker', 'pool', 'online', 20, 20, '[]', 1, '', '', 'token', $2)`,
        [`w${n}`, `s${n}`],
      );
  });

  const project = (id: string, weight = 1, limits: object = {}) =>
    ask(`INSERT INTO project (id, name, weight, limits) VALUES ($1, $1, $2, $3)`, [
      id,
      weight,
      JSON.stringify(limits),
    ]);
  const backlog = (id: string, count: number) =>
    insertJobs(
      ask,
      Array.from({ length: count }, (_, n) => ({ id: `${id}-${n}`, project: id, created: n })),
    );
  /** Assigns jobs as the dispatcher does. Returns their ids in order. */
  const give = async (workers = [worker(1, 20), worker(2, 20), worker(3, 20)]) => {
    const given = await batches.take('pool', match(await batches.next('pool'), workers));
    return given.map(({ taken }) => taken.id);
  };
  const free = async () =>
    (await ask<{ free_slots: number }>('SELECT free_slots FROM worker ORDER BY id')).map(
      (row) => row.free_slots,
    );

  it('are taken in the same order as one at a time', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = randomFrom(seed);
      const projects = Array.from({ length: 1 + random.below(5) }, (_, n) => `p${n}`);
      const weights = projects.map(() => random.one([1, 1, 2, 5]));
      const used = projects.map(() => random.below(1000));
      const jobs = Array.from({ length: 40 }, (_, n) => ({
        id: `job-${n}`,
        project: random.one(projects),
        priority: random.one([100, 100, 100, 1, 500]),
        created: random.below(20),
        state: n < 5 ? 'running' : 'queued',
      }));
      const order = async (next: () => Promise<string[]>): Promise<string[]> => {
        await ask('TRUNCATE project, job, attempt, pool_use');
        for (const [n, id] of projects.entries()) {
          await project(id, weights[n]);
          await ask(
            `INSERT INTO pool_use (pool, project_id, seconds, at) VALUES ('pool', $1, $2, clock_timestamp())`,
            [id, used[n]],
          );
        }
        await insertJobs(ask, jobs);
        const all: string[] = [];
        for (let some; (some = await next()).length > 0; all.push(...some))
          await ask('UPDATE worker SET free_slots = slots');
        return all;
      };
      const one = await order(async () => {
        const taken = await leases.take(worker(1, 20));
        return typeof taken === 'string' ? [] : [taken.id];
      });
      expect(one).toHaveLength(35);
      expect(await order(() => give())).toEqual(one);
    }
  }, 60_000);

  it('go to the workers with the most free slots, with one attempt and one slot each', async () => {
    await project('a');
    await backlog('a', 4);
    await ask(`UPDATE worker SET free_slots = CASE id WHEN 'w2' THEN 3 ELSE 1 END`);
    expect(await give([worker(2, 3), worker(1, 1), worker(3, 1)])).toHaveLength(4);
    expect(await free()).toEqual([0, 0, 1]);
    const attempts = await ask(
      `SELECT job_id, number, worker_id FROM attempt JOIN job ON job.id = job_id AND attempt = number
         AND lease_owner = worker_id AND state = 'running' ORDER BY job_id`,
    );
    expect(attempts).toEqual([
      { job_id: 'a-0', number: 1, worker_id: 'w2' },
      { job_id: 'a-1', number: 1, worker_id: 'w2' },
      { job_id: 'a-2', number: 1, worker_id: 'w1' },
      { job_id: 'a-3', number: 1, worker_id: 'w2' },
    ]);
  });

  it('assign no job and no slot twice when several processes assign concurrently', async () => {
    await project('a');
    await backlog('a', 60);
    await ask('UPDATE worker SET free_slots = 5');
    const gave = await Promise.all([
      ...Array.from({ length: 4 }, () => give()),
      ...[1, 2, 3, 1, 2, 3].map(async (n) => {
        const taken = await leases.take(worker(n, 20));
        return typeof taken === 'string' ? [] : [taken.id];
      }),
    ]);
    const ids = gave.flat();
    expect(new Set(ids).size).toBe(ids.length);
    const left = await free();
    expect(left.every((slots) => slots >= 0)).toBe(true);
    const running = await ask(
      `SELECT count(*)::int AS n FROM job WHERE state = 'running' GROUP BY lease_owner ORDER BY lease_owner`,
    );
    expect(running).toEqual(left.map((slots) => ({ n: 5 - slots })));
  });

  it.each([
    ['was cancelled', `UPDATE job SET state = 'cancelled', attempt = attempt + 1 WHERE id = 'a-0'`],
    ['was assigned', `UPDATE job SET attempt = attempt + 1 WHERE id = 'a-0'`],
    ['was paused', `UPDATE job SET desired_state = 'pause' WHERE id = 'a-0'`],
  ])('skip a job that %s after the order was read', async (_, happens) => {
    await project('a');
    await backlog('a', 3);
    const pairs = match(await batches.next('pool'), [worker(1, 20)]);
    await ask(happens);
    const given = await batches.take('pool', pairs);
    expect(given.map(({ taken }) => taken.id)).toEqual(['a-1', 'a-2']);
    expect(await free()).toEqual([18, 20, 20]);
  });

  it.each([
    ['the worker joined again', `UPDATE worker SET session_id = 'other' WHERE id = 'w1'`],
    ['the worker was cordoned', 'UPDATE worker SET cordoned = true'],
    ['the worker started to drain', `UPDATE worker SET state = 'draining'`],
    ['the worker lost its last free slot', 'UPDATE worker SET free_slots = 0'],
    [
      'the worker stopped sending heartbeats',
      `UPDATE worker SET last_seen_at = clock_timestamp() - interval '601 seconds'`,
    ],
    ['the pool was cordoned', `INSERT INTO pool (name, cordoned) VALUES ('pool', true)`],
    ['the pool was closed', `INSERT INTO pool (name, open) VALUES ('pool', false)`],
    ['the project was archived', 'UPDATE project SET archived_at = clock_timestamp()'],
    ['the project got a limit', `UPDATE project SET limits = '{"running_jobs": 9}'`],
  ])('assign nothing if %s in the meantime', async (_, happens) => {
    await project('a');
    await backlog('a', 3);
    const pairs = match(await batches.next('pool'), [worker(1, 20)]);
    expect(pairs).toHaveLength(3);
    await ask(happens);
    expect(await batches.take('pool', pairs)).toEqual([]);
    expect(await ask('SELECT 1 FROM attempt')).toEqual([]);
    expect(await ask(`SELECT 1 FROM job WHERE state <> 'queued'`)).toEqual([]);
  });
});

describe('matching of jobs and workers', () => {
  const job = (id: string, base_id = 'base', limited = false): NextJob => ({
    id,
    attempt: 0,
    base_id,
    limited,
    schema_version: SCHEMA_VERSION,
  });
  const matched = (...of: Parameters<typeof match>) =>
    match(...of).map((pair) => [pair.job.id, pair.worker.workerId]);

  it('prefers a worker that holds the base, then the one with the most free slots', () => {
    const workers = [worker(1, 1), worker(2, 2), worker(3, 1, ['base'])];
    expect(matched([job('a'), job('b'), job('c'), job('d'), job('e')], workers)).toEqual([
      ['a', 'w3'],
      ['b', 'w2'],
      ['c', 'w1'],
      ['d', 'w2'],
    ]);
  });

  it('stops before a job of a project with a limit', () => {
    expect(matched([job('a'), job('b', 'base', true), job('c')], [worker(1, 9)])).toEqual([
      ['a', 'w1'],
    ]);
  });

  it('stops before a job that requires a higher schema version than the next worker has', () => {
    const newer = { ...job('b'), schema_version: SCHEMA_VERSION + 1 };
    const [old, able] = [worker(1, 9), worker(2, 8, [], SCHEMA_VERSION + 1)];
    expect(matched([job('a'), newer, job('c')], [old, able])).toEqual([['a', 'w1']]);
    expect(matched([job('a'), newer, job('c')], [able])).toHaveLength(3);
  });

  it('stops where a later job may pass because the worker holds its base', () => {
    const workers = [worker(1, 9, ['small'])];
    expect(matched([job('a', 'small'), job('b', 'large'), job('c', 'small')], workers)).toEqual([
      ['a', 'w1'],
    ]);
  });
});
