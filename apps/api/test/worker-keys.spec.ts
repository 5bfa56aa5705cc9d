import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

describe('a worker that is started again', () => {
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
    const lease = await worker.assigned();
    await worker.tell(lease, started(), step(1));
    const key = worker.welcome?.workerKey ?? '';
    return { id, pool, worker, lease, key };
  }
  interface Job {
    readonly status: string;
    readonly graft: { readonly attempts: readonly { readonly outcome: string | null }[] };
  }
  const job = (id: string) => api.get<Job>(`/fine_tuning/jobs/${id}`);

  it('is the same one by its key, which is kept as a hash and given once', async () => {
    const { pool, worker, lease, key } = await running();
    expect(key).toMatch(/^wk-graft-/);
    worker.vanish();
    const named = { jobId: lease.jobId, attempt: lease.attempt, step: 1 };
    const back = await new ScriptedWorker(api, { pool, key, leases: [named] }).connect();
    expect(back.welcome?.workerId).toBe(worker.welcome?.workerId);
    expect(back.welcome?.workerKey).toBeUndefined();
    const rows = await api.query<{ row: string }>('SELECT worker::text AS row FROM worker');
    expect(rows.some(({ row }) => row.includes(key))).toBe(false);
    // What it had spooled counts, be it the end: the third fact of this attempt.
    for (let n = 0; n < 2; n++) back.event(lease, step(1));
    await back.finish(lease, 10);
    expect(await job(lease.jobId)).toMatchObject({
      status: 'succeeded',
      graft: { attempts: [{ outcome: 'done' }] },
    });
    back.vanish();
  });

  it('loses a run that it does not name at once, not when its lease is over', async () => {
    const { id, pool, worker, key } = await running();
    worker.vanish();
    const back = await new ScriptedWorker(api, { pool, key }).connect();
    await until(async () => (await job(id)).graft.attempts[0]?.outcome === 'lost_worker');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    back.vanish();
  });

  it("is another one with a key that is nobody's, and gets one that holds", async () => {
    const { id, pool, worker, key } = await running();
    const wrong = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0');
    const strangers = [
      await new ScriptedWorker(api, { pool, key: wrong }).connect(),
      await new ScriptedWorker(api, { pool, key: 'x'.repeat(10_000) }).connect(),
    ];
    for (const stranger of strangers) {
      expect(stranger.welcome?.workerId).not.toBe(worker.welcome?.workerId);
      expect(stranger.welcome?.workerKey).toMatch(/^wk-graft-/);
      stranger.vanish();
    }
    expect((await job(id)).status).toBe('running');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('in two places is the one that joined last; the other is told why it is out', async () => {
    const { id, pool, worker, key } = await running();
    const copy = await new ScriptedWorker(api, { pool, key }).connect();
    await expect(worker.beat([])).rejects.toThrow("copy of this worker's home");
    expect(copy.ended).toBeNull();
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    copy.vanish();
  });
});
