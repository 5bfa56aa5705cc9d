import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

// The database is killed under a running job: the API reports it, recovers, and the worker keeps its lease.

const LEASE_MS = 3000;
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi({ embedded: true, leaseMs: LEASE_MS, reconcileMs: 300 });
  await importBase(api);
});
afterAll(() => api?.close());

const postgres = (): number => {
  const file = join(api.home, 'postgres', 'data', 'postmaster.pid');
  return Number(readFileSync(file, 'utf8').split('\n')[0]);
};

it('survives kill -9 of its Postgres, and workers keep their leases', async () => {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
  });
  const instance = 'the-same';
  const worker = await new ScriptedWorker(api, { instance }).connect();
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 10), step(1));

  const pid = postgres();
  process.kill(pid, 'SIGKILL');
  const during = await fetch(`${api.url}/v1/models`, { headers: api.headers });
  if (!during.ok) {
    expect(during.status).toBe(503);
    expect(await during.json()).toMatchObject({ error: { code: 'unavailable' } });
  }
  await until(async () => (await fetch(`${api.url}/readyz`)).status === 200, 30_000);
  expect(postgres()).not.toBe(pid);

  // The worker reconnects with its leases, as an agent does after a broken stream.
  const back = await new ScriptedWorker(api, {
    instance,
    leases: [{ jobId: id, attempt: lease.attempt, step: 1 }],
  }).connect();
  expect(back.commands).toEqual([]);
  expect(
    (await back.heartbeat([{ jobId: id, attempt: lease.attempt, step: 1 }])).held,
  ).toHaveLength(1);
  const job = await api.get<{ status: string; graft: { attempts: unknown[] } }>(
    `/fine_tuning/jobs/${id}`,
  );
  expect(job).toMatchObject({
    status: 'running',
    graft: { attempts: [{ number: lease.attempt, outcome: null }] },
  });
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.vanish();
  back.vanish();
});

it('counts no failure for an assignment that was being prepared', async () => {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool: 'prepared' },
  });
  const pool = { pool: 'prepared', instance: 'prepared' };
  const worker = await new ScriptedWorker(api, pool).connect();
  const lease = await worker.nextAssignment();
  const state = await worker.put(lease, 'state', 'at 1');
  await worker.report(lease, started(0, 9), step(1), saved(1, [state]));
  await worker.report(lease, { kind: 'stopped', payload: { reason: 'drain', step: 1 } });

  api.query('BEGIN; LOCK TABLE checkpoint; SELECT pg_sleep(60)').catch(() => undefined);
  const locks = (which: string): Promise<unknown[]> =>
    api.query(`SELECT 1 FROM pg_locks WHERE relation = 'checkpoint'::regclass AND ${which}`);
  await until(async () => (await locks(`mode = 'AccessExclusiveLock'`)).length > 0);
  worker.pull();
  await until(async () => (await locks('NOT granted')).length > 0);
  const pid = postgres();
  process.kill(pid, 'SIGKILL');
  await until(async () => {
    const isReady = (await fetch(`${api.url}/readyz`)).status === 200;
    return isReady && postgres() !== pid;
  }, 30_000);

  const back = await new ScriptedWorker(api, pool).connect();
  expect(await back.nextAssignment(30_000)).toMatchObject({ jobId: id, checkpointStep: 1 });
  const { graft } = await api.get<{ graft: { attempts: { outcome: string | null }[] } }>(
    `/fine_tuning/jobs/${id}`,
  );
  expect(graft.attempts.map(({ outcome }) => outcome)).toEqual(['drained', 'not_prepared', null]);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.vanish();
  back.vanish();
});
