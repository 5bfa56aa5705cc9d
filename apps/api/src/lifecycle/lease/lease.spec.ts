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
import { closeAttempt } from '../close-attempt.js';
import { simulate } from '../../history/queue-simulation.js';
import { Leases, type LeasedJob } from './lease.js';

describe('leases of a pool', () => {
  let scratch: ScratchDatabase;
  let database: WorkerDatabase;
  let leases: Leases;
  const ask = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    database.query<Row>(sql, values);

  beforeAll(async () => {
    scratch = await scratchDatabase();
    database = new WorkerDatabase(scratch.source);
    leases = new Leases(
      database,
      { leaseMs: 600_000 } as Settings,
      { announce: () => undefined } as unknown as WakeUps,
    );
    await ask(`INSERT INTO join_token (id, hash, name) VALUES ('token', 'hash', 'token')`);
    await ask(
      `INSERT INTO worker (id, instance_id, name, pool, state, slots, free_slots, devices, memory_bytes, libtorch,
         trainer_build, join_token_id, session_id)
       VALUES ('worker', 'instance', 'worker', 'pool', 'online', 1000, 1000, '[]', 1, '', '', 'token', 'session')`,
    );
  });
  afterAll(() => scratch?.close());
  beforeEach(async () => {
    await ask('TRUNCATE project, job, attempt, pool_use');
    await ask('UPDATE worker SET free_slots = slots, cordoned = false');
  });

  const project = (id: string, weight = 1, limits: object = {}) =>
    ask(`INSERT INTO project (id, name, weight, limits) VALUES ($1, $1, $2, $3)`, [
      id,
      weight,
      JSON.stringify(limits),
    ]);
  const backlog = (id: string, count: number, more: object = {}) =>
    insertJobs(
      ask,
      Array.from({ length: count }, (_, n) => ({
        id: `${id}-${String(n).padStart(4, '0')}`,
        project: id,
        created: n,
        ...more,
      })),
    );
  const worker = {
    workerId: 'worker',
    sessionId: 'session',
    name: 'worker',
    pool: 'pool',
    residentBases: [] as string[],
  };
  const take = (of: Partial<typeof worker> = {}) => leases.take({ ...worker, ...of });
  const taken = async (of: Partial<typeof worker> = {}): Promise<LeasedJob> => {
    const answer = await take(of);
    if (typeof answer === 'string') throw new Error(`no lease: ${answer}`);
    return answer;
  };
  /** Ends a job as if it had held its slot for this many seconds. */
  const end = (job: LeasedJob, seconds: number) =>
    database.transaction(async (manager) => {
      await database.query(
        `UPDATE attempt SET assigned_at = clock_timestamp() - $3 * interval '1 second'
         WHERE job_id = $1 AND number = $2`,
        [job.id, job.attempt, seconds],
        manager,
      );
      await closeAttempt(database, manager, job, 'done');
      await database.query(
        `UPDATE job SET state = 'succeeded' WHERE id = $1 AND attempt = $2`,
        [job.id, job.attempt],
        manager,
      );
    });

  it('assigns nothing to a worker that started to drain after it was chosen', async () => {
    await project('a');
    await backlog('a', 1);
    await ask(`UPDATE worker SET state = 'draining'`);
    expect(await take()).toBe('full');
    await ask(`UPDATE worker SET state = 'online'`);
    expect((await taken()).id).toBe('a-0000');
  });

  it('divides the slots by weight, to within one slot at all times, and starves no project', async () => {
    const random = randomFrom(8);
    const weights: Record<string, number> = { a: 1, b: 1, c: 2, d: 5 };
    for (const [id, weight] of Object.entries(weights)) await project(id, weight);
    await project('limited', 50, { running_jobs: 2 });
    await backlog('a', 60);
    for (const id of ['b', 'c', 'd', 'limited']) await backlog(id, 15, { created: 1000 });
    const waiting: Record<string, number> = { a: 60, b: 15, c: 15, d: 15, limited: 15 };
    const running: LeasedJob[] = [];
    const held = (id: string) => running.filter((job) => job.project_id === id).length;
    let given = 0;
    for (;;) {
      while (running.length < 9) {
        const answer = await take();
        if (typeof answer === 'string') {
          expect(answer).toBe('none');
          break;
        }
        running.push(answer);
        given++;
        waiting[answer.project_id] = (waiting[answer.project_id] ?? 0) - 1;
        // Without its new slot, the project has no more slots per weight than any project with waiting
        // jobs.
        const mine = answer.project_id;
        for (const [id, weight] of Object.entries(weights))
          if (mine !== 'limited' && (waiting[id] ?? 0) > 0)
            expect((held(mine) - 1) / (weights[mine] ?? 1)).toBeLessThanOrEqual(held(id) / weight);
        expect(held('limited')).toBeLessThanOrEqual(2);
      }
      if (running.length === 0) break;
      const [ended] = running.splice(random.below(running.length), 1);
      await end(ended as LeasedJob, 1 + random.below(600));
    }
    expect(given).toBe(120);
    expect(waiting).toEqual({ a: 0, b: 0, c: 0, d: 0, limited: 0 });
  }, 60_000);

  it('divides the time of a single slot by weight, whatever the length of the jobs', async () => {
    const random = randomFrom(3);
    const weights: Record<string, number> = { a: 1, b: 2, c: 4 };
    for (const [id, weight] of Object.entries(weights)) {
      await project(id, weight);
      await backlog(id, 80);
    }
    const longest = 90;
    const seconds: Record<string, number> = { a: 0, b: 0, c: 0 };
    const perWeight = (id: string) => (seconds[id] ?? 0) / (weights[id] ?? 1);
    for (let n = 0; n < 100; n++) {
      const job = await taken();
      const took = 1 + random.below(longest);
      seconds[job.project_id] = (seconds[job.project_id] ?? 0) + took;
      await end(job, took);
      for (const x of ['a', 'b', 'c'])
        for (const y of ['a', 'b', 'c'])
          expect(Math.abs(perWeight(x) - perWeight(y))).toBeLessThanOrEqual(longest + 2);
    }
    const all = Object.values(seconds).reduce((sum, one) => sum + one);
    expect((seconds['c'] ?? 0) / all).toBeCloseTo(4 / 7, 1);
  }, 60_000);

  it('assigns jobs in the order and at the times of the forecast', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      await ask('TRUNCATE project, job, attempt, pool_use');
      const random = randomFrom(seed);
      const slots = 1 + random.below(4);
      const projects = Array.from({ length: 1 + random.below(4) }, (_, n) => ({
        id: `p${n}`,
        weight: random.one([1, 1, 2, 5]),
        limit: random.one([null, null, 1, 2]),
        elsewhere: 0,
        used: 0,
      }));
      for (const { id, weight, limit } of projects)
        await project(id, weight, limit === null ? {} : { running_jobs: limit });
      const jobs = Array.from({ length: 25 }, (_, n) => ({
        id: `job-${String(n).padStart(2, '0')}`,
        project: random.one(projects).id,
        priority: random.one([100, 100, 100, 1, 500]),
        created: n,
        age: n,
        dueIn: 0,
        // Fractions make all times, and all slot times of projects, different.
        seconds: 10 + random.below(500) + n / 32,
      }));
      await insertJobs(ask, jobs);
      const said = simulate({ freeSlots: slots, running: [], waiting: jobs, projects }, Infinity);
      const given: { id: string; seconds: number }[] = [];
      const running: { job: LeasedJob; from: number; until: number }[] = [];
      const held = new Map<string, number>();
      for (let now = 0; ;) {
        while (running.length < slots) {
          const job = await take();
          if (typeof job === 'string') break;
          given.push({ id: job.id, seconds: now });
          const seconds = jobs.find(({ id }) => id === job.id)?.seconds ?? 0;
          running.push({ job, from: now, until: now + seconds });
        }
        const next = running.sort((a, b) => a.until - b.until).shift();
        if (!next) break;
        now = next.until;
        await end(next.job, next.until - next.from);
        const { project_id: owner } = next.job;
        held.set(owner, (held.get(owner) ?? 0) + (next.until - next.from));
        // Cancel the decay during the test's own run time.
        await ask(
          'UPDATE pool_use SET at = clock_timestamp(), seconds = $2 WHERE project_id = $1',
          [owner, held.get(owner)],
        );
      }
      expect({ seed, given }).toEqual({ seed, given: said });
      expect(given).toHaveLength(25);
    }
  }, 60_000);

  it('never exceeds the running limit of a project when several pools assign concurrently', async () => {
    await project('limited', 1, { running_jobs: 3 });
    await project('free');
    for (const pool of ['p', 'q', 'r', 's']) {
      await insertJobs(
        ask,
        Array.from({ length: 6 }, (_, n) => ({ id: `l${pool}${n}`, project: 'limited', pool })),
      );
    }
    await insertJobs(
      ask,
      Array.from({ length: 2 }, (_, n) => ({
        id: `f${n}`,
        project: 'free',
        pool: 'p',
        created: 9,
      })),
    );
    const answers = await Promise.all(
      ['p', 'q', 'r', 's'].flatMap((pool) => [0, 1, 2].map(() => take({ pool }))),
    );
    const jobs = answers.filter((answer) => typeof answer !== 'string');
    expect(jobs.filter((job) => job.project_id === 'limited')).toHaveLength(3);
    expect(new Set(jobs.map((job) => job.id)).size).toBe(jobs.length);
    const [first] = jobs.filter((job) => job.project_id === 'limited');
    await end(first as LeasedJob, 5);
    const more = await Promise.all(['q', 'r', 's'].map((pool) => take({ pool })));
    expect(more.filter((answer) => answer !== 'none')).toHaveLength(1);
  }, 60_000);

  it('lets jobs whose base is loaded pass the first job three times, but none of higher priority', async () => {
    await project('one');
    await insertJobs(ask, [
      { id: 'first', project: 'one', base: 'large', created: 1 },
      ...[2, 3, 4, 5, 6].map((n) => ({
        id: `small-${n}`,
        project: 'one',
        base: 'small',
        created: n,
      })),
    ]);
    const holds = { residentBases: ['small', 'other'] };
    const order: string[] = [];
    for (let n = 0; n < 6; n++) order.push((await taken(holds)).id);
    expect(order).toEqual(['small-2', 'small-3', 'small-4', 'first', 'small-5', 'small-6']);
    await insertJobs(ask, [
      { id: 'urgent', project: 'one', base: 'large', priority: 99, created: 9 },
      { id: 'small-7', project: 'one', base: 'small', created: 7 },
    ]);
    expect((await taken(holds)).id).toBe('urgent');
  });

  it.each([
    ['whose join token was revoked', `UPDATE join_token SET revoked_at = clock_timestamp()`],
    [
      'without a heartbeat for the length of a lease',
      `UPDATE worker SET last_seen_at = clock_timestamp() - interval '601 seconds'`,
    ],
  ])('assigns nothing to a worker %s', async (_, happens) => {
    await project('a');
    await backlog('a', 1);
    await ask(happens);
    try {
      expect(await take()).toBe('unfit');
      expect(await ask('SELECT 1 FROM attempt')).toEqual([]);
    } finally {
      await ask('UPDATE join_token SET revoked_at = NULL');
      await ask('UPDATE worker SET last_seen_at = clock_timestamp()');
    }
    expect(await taken()).toMatchObject({ attempt: 1 });
  });

  it('assigns nothing to an old session of a worker, and takes a slot for its current session', async () => {
    await project('one');
    await backlog('one', 1);
    expect(await take({ sessionId: 'older' })).toBe('unfit');
    const free = async () =>
      (await ask<{ free_slots: number }>('SELECT free_slots FROM worker'))[0]?.free_slots;
    const before = (await free()) ?? 0;
    await taken();
    expect(await free()).toBe(before - 1);
    expect(await take()).toBe('none');
  });

  it('assigns no slot twice under concurrency, and no slot of a cordoned worker', async () => {
    await project('one');
    await backlog('one', 20);
    await ask('UPDATE worker SET free_slots = 3');
    const answers = await Promise.all(Array.from({ length: 8 }, () => take()));
    const given = answers.filter((answer) => typeof answer !== 'string');
    // The others lost their job to another process and found no free slot for the next one.
    expect([given.length, answers.filter((answer) => answer === 'full').length]).toEqual([3, 5]);
    const running = await ask(`SELECT 1 FROM job WHERE state = 'running'`);
    expect(running).toHaveLength(3);
    await ask('UPDATE worker SET free_slots = 1, cordoned = true');
    expect(await take()).toBe('full');
  });
});
