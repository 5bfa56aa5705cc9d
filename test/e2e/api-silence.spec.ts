import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './api-fixture.js';
import { ScriptedWorker } from './api-worker.js';

// Workers that are connected, and hang or are not wanted any more.

const LEASE_MS = 1500;

describe('a worker that is connected but', () => {
  let api: TestApi;
  let file: string;
  let pools = 0;

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: LEASE_MS, reconcileMs: 200 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(() => api?.close());

  const create = async (pool: string): Promise<string> =>
    (
      await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file,
        graft: { pool },
      })
    ).id;
  /** Asks for work again and again while the test goes on, as a worker that hangs in part may. */
  const pulling = (worker: ScriptedWorker): (() => void) => {
    const timer = setInterval(() => worker.ended === null && worker.pull(), 50);
    return () => clearInterval(timer);
  };
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const revocable = async () => {
    const token = await api.post<{ id: string; secret: string }>('/join_tokens', {});
    const revoke = () =>
      fetch(`${api.url}/v1/join_tokens/${token.id}`, { method: 'DELETE', headers: api.headers });
    return { token: token.secret, revoke };
  };
  const ask = async (): Promise<{ status: number; code: string | undefined }> => {
    const response = await fetch(`${api.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...api.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'hello' }] }),
      signal: AbortSignal.timeout(5_000),
    });
    const body = (await response.json()) as { error?: { code: string } };
    return { status: response.status, code: body.error?.code };
  };

  it('silent gets no job, and its stream ends', async () => {
    const pool = `pool-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, silent: true }).connect();
    await pause(LEASE_MS * 1.2);
    const stop = pulling(worker);
    const id = await create(pool);
    await until(() => worker.ended !== null);
    stop();
    expect(worker.ended).toContain('no heartbeat');
    expect(worker.assignments).toEqual([]);
    const healthy = await new ScriptedWorker(api, { pool }).connect();
    expect(await healthy.assigned()).toMatchObject({ jobId: id, epoch: 1 });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    healthy.vanish();
    worker.vanish();
  });

  it('not noted as heard by the database gets no job, whatever this process thinks', async () => {
    const pool = `pool-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, silent: true }).connect();
    await api.query(
      `UPDATE worker SET last_seen_at = clock_timestamp() - $2 * interval '1 millisecond' WHERE id = $1`,
      [worker.welcome?.workerId, LEASE_MS],
    );
    const id = await create(pool);
    worker.pull();
    await until(() => worker.ended !== null);
    expect(worker.ended).toContain('no heartbeat was noted');
    expect(worker.assignments).toEqual([]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('whose join token was revoked gets no job, though it was heard just now', async () => {
    const pool = `pool-${pools++}`;
    const { token, revoke } = await revocable();
    const worker = await new ScriptedWorker(api, { pool, token, silent: true }).connect();
    await revoke();
    const stop = pulling(worker);
    const id = await create(pool);
    await until(() => worker.ended !== null);
    stop();
    expect(worker.ended).toContain('revoked');
    expect(worker.assignments).toEqual([]);
    const healthy = await new ScriptedWorker(api, { pool }).connect();
    expect(await healthy.assigned()).toMatchObject({ jobId: id, epoch: 1 });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    healthy.vanish();
    worker.vanish();
  });

  it('silent or revoked answers no chat', async () => {
    const silent = await new ScriptedWorker(api, { silent: true }).connect();
    await pause(LEASE_MS * 1.2);
    expect(await ask()).toEqual({ status: 503, code: 'no_worker' });
    const { token, revoke } = await revocable();
    const revoked = await new ScriptedWorker(api, { token, silent: true }).connect();
    await revoke();
    expect(await ask()).toEqual({ status: 503, code: 'no_worker' });
    await until(() => revoked.ended !== null);
    for (const worker of [silent, revoked]) {
      expect(worker.questions).toEqual([]);
      worker.vanish();
    }
  });

  it('holds a job and beats keeps its stream however long the job lasts', async () => {
    const worker = await new ScriptedWorker(api).connect();
    await pause(LEASE_MS * 3);
    expect(worker.ended).toBeNull();
    worker.vanish();
  });
});
