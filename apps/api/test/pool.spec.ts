import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { finished, ScriptedWorker, started, step } from './scripted-worker.js';

// More concurrent requests than the API has database connections: no request may wait for a second connection
// while it holds one.

const AT_ONCE = 40;
/** A request that waits for a connection times out after this time; none may take that long. */
const QUICK_MS = 10_000;

describe('many concurrent requests', () => {
  let api: TestApi;
  let file: string;
  let worker: ScriptedWorker;

  beforeAll(async () => {
    api = await startTestApi({ requestsPerMinute: 0 });
    await importBase(api);
    file = await uploadChats(api);
    worker = await new ScriptedWorker(api, { pool: 'busy' }).connect();
  });
  afterAll(async () => {
    worker?.vanish();
    await api?.close();
  });

  const create = async (pool: string): Promise<string> =>
    (
      await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file,
        graft: { pool },
      })
    ).id;
  const several = <T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: count }, (_, n) => make(n)));
  const ask = async (id: string, verb: string): Promise<{ status: number; ms: number }> => {
    const startedAt = performance.now();
    const { status } = await fetch(`${api.url}/v1/fine_tuning/jobs/${id}/${verb}`, {
      method: 'POST',
      headers: api.headers,
    });
    return { status, ms: performance.now() - startedAt };
  };

  it('answers cancel, pause and resume calls while a worker keeps its lease', async () => {
    const kept = await create('busy');
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(), step(1));
    const ids = await several(AT_ONCE, () => create('unserved'));
    let beats = 0;
    const beating = setInterval(() => {
      void worker
        .heartbeat([{ jobId: kept, attempt: lease.attempt, step: 1 }])
        .then((beat) => (beats += beat.held.length))
        .catch(() => undefined);
    }, 500);
    try {
      const rounds = [
        [await several(AT_ONCE, (n) => ask(`ftjob-unknown${n}`, 'cancel')), 404],
        [await several(AT_ONCE, (n) => ask(ids[n] ?? '', 'pause')), 200],
        [await several(AT_ONCE, (n) => ask(ids[n] ?? '', 'resume')), 200],
        [await several(AT_ONCE, (n) => ask(ids[n] ?? '', 'cancel')), 200],
        [await several(AT_ONCE, () => ask(ids[0] ?? '', 'cancel')), 200],
      ] as const;
      for (const [answers, wanted] of rounds) {
        expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([wanted]));
        expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(QUICK_MS);
      }
      await until(() => beats > 1);
    } finally {
      clearInterval(beating);
    }
    const states = await api.query<{ state: string; count: number }>(
      'SELECT state, count(*)::int AS count FROM job GROUP BY state ORDER BY state',
    );
    expect(states).toEqual([
      { state: 'cancelled', count: AT_ONCE },
      { state: 'running', count: 1 },
    ]);
    await api.post(`/fine_tuning/jobs/${kept}/cancel`);
  });

  it('leads only pools with workers, because each leader holds an advisory lock', async () => {
    await several(AT_ONCE, (n) => create(`named-${n}`));
    const relayed = `SELECT 1 FROM outbox WHERE pool LIKE 'named-%' AND sent_at IS NOT NULL`;
    await until(async () => (await api.query(relayed)).length === AT_ONCE);
    const led = () =>
      api.query(
        `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 7240252
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      );
    // The free slot of a worker causes the process to lead the pool and assign its jobs immediately.
    const late = await new ScriptedWorker(api, { pool: 'named-7' }).connect();
    await late.nextAssignment();
    // Any leader that the jobs' creation caused would exist by now.
    expect((await led()).length).toBeLessThanOrEqual(2);
    late.vanish();
  });

  it('ends twenty jobs that finish at the same time', async () => {
    const workers = await several(20, (n) =>
      new ScriptedWorker(api, { pool: 'finish', name: `w${n}` }).connect(),
    );
    const ids = await several(workers.length, () => create('finish'));
    const leases = [];
    // Sequentially, so that each worker has one job.
    for (const each of workers) {
      const lease = await each.nextAssignment();
      each.keep(lease);
      leases.push(lease);
    }
    const ready = [];
    for (const [n, lease] of leases.entries())
      ready.push([workers[n], lease, [await workers[n]?.put(lease, 'weights', `${n}`)]] as const);
    const startedAt = performance.now();
    await Promise.all(
      ready.map(([each, lease, [weights]]) =>
        each?.report(lease, finished(10, weights ? [weights] : [])),
      ),
    );
    expect(performance.now() - startedAt).toBeLessThan(QUICK_MS);
    for (const id of ids)
      expect(await api.get(`/fine_tuning/jobs/${id}`)).toMatchObject({ status: 'succeeded' });
    for (const each of workers) each.vanish();
  });
});
