import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

describe('a restarted worker', () => {
  let api: TestApi;
  let file: string;
  let pools = 0;

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: 60_000, reconcileMs: 200 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(() => api?.close());

  async function running() {
    const pool = `pool-${pools++}`;
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool },
    });
    const worker = await new ScriptedWorker(api, { pool }).connect();
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(), step(1));
    const key = worker.welcome?.workerKey ?? '';
    return { id, pool, worker, lease, key };
  }
  interface Job {
    readonly status: string;
    readonly graft: { readonly attempts: readonly { readonly outcome: string | null }[] };
  }
  const job = (id: string) => api.get<Job>(`/fine_tuning/jobs/${id}`);

  it('is identified by its key, which is stored as a hash and sent once', async () => {
    const { pool, worker, lease, key } = await running();
    expect(key).toMatch(/^wk-graft-/);
    worker.vanish();
    const named = { jobId: lease.jobId, attempt: lease.attempt, step: 1 };
    const back = await new ScriptedWorker(api, { pool, key, leases: [named] }).connect();
    expect(back.welcome?.workerId).toBe(worker.welcome?.workerId);
    expect(back.welcome?.workerKey).toBeUndefined();
    const rows = await api.query<{ row: string }>('SELECT worker::text AS row FROM worker');
    expect(rows.some(({ row }) => row.includes(key))).toBe(false);
    // Spooled events count, including the end of the job: the third event of this attempt.
    for (let n = 0; n < 2; n++) back.event(lease, step(1));
    await back.finish(lease, 10);
    expect(await job(lease.jobId)).toMatchObject({
      status: 'succeeded',
      graft: { attempts: [{ outcome: 'done' }] },
    });
    back.vanish();
  });

  it('loses a run that it does not report immediately, not only when the lease expires', async () => {
    const { id, pool, worker, key } = await running();
    worker.vanish();
    const back = await new ScriptedWorker(api, { pool, key }).connect();
    await until(async () => (await job(id)).graft.attempts[0]?.outcome === 'lost_worker');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    back.vanish();
  });

  it('gets a new id and key if its key is unknown', async () => {
    const { id, pool, worker, key } = await running();
    const wrong = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0');
    const unknown = [
      await new ScriptedWorker(api, { pool, key: wrong }).connect(),
      await new ScriptedWorker(api, { pool, key: 'x'.repeat(10_000) }).connect(),
    ];
    for (const each of unknown) {
      expect(each.welcome?.workerId).not.toBe(worker.welcome?.workerId);
      expect(each.welcome?.workerKey).toMatch(/^wk-graft-/);
      each.vanish();
    }
    expect((await job(id)).status).toBe('running');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('with a copied home replaces the first one, whose stream ends with the reason', async () => {
    const { id, pool, worker, key } = await running();
    const copy = await new ScriptedWorker(api, { pool, key }).connect();
    await expect(worker.heartbeat([])).rejects.toThrow("copy of this worker's home");
    expect(copy.ended).toBeNull();
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    copy.vanish();
  });
});
