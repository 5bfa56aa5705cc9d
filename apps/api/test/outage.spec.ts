import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

// The database vanishes under a running job: the API says so, comes back, and takes nothing from its worker.

const LEASE_MS = 3000;
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi({ embedded: true, leaseMs: LEASE_MS, reconcileMs: 300 });
  await importBase(api);
});
afterAll(() => api?.close());

it('survives kill -9 of its Postgres without taking a lease away', async () => {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
  });
  const instance = 'the-same';
  const worker = await new ScriptedWorker(api, { instance }).connect();
  const lease = await worker.assigned();
  await worker.tell(lease, started(0, 10), step(1));

  const pidFile = join(api.home, 'postgres', 'data', 'postmaster.pid');
  const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
  process.kill(pid, 'SIGKILL');
  const during = await fetch(`${api.url}/v1/models`, { headers: api.headers });
  if (!during.ok) {
    expect(during.status).toBe(503);
    expect(await during.json()).toMatchObject({ error: { code: 'unavailable' } });
  }
  await until(async () => (await fetch(`${api.url}/readyz`)).status === 200, 30_000);
  expect(Number(readFileSync(pidFile, 'utf8').split('\n')[0])).not.toBe(pid);

  // The worker comes back with what it holds, as its agent does after a broken stream.
  const back = await new ScriptedWorker(api, {
    instance,
    leases: [{ jobId: id, attempt: lease.attempt, step: 1 }],
  }).connect();
  expect(back.commands).toEqual([]);
  expect((await back.beat([{ jobId: id, attempt: lease.attempt, step: 1 }])).held).toHaveLength(1);
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
