import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

// Workers that are connected but hang, or whose token was revoked.

const LEASE_MS = 1500;

describe('a connected worker', () => {
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
  /** Requests work repeatedly, as a partly hung worker may. */
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

  it('without heartbeats gets no job, and its stream ends', async () => {
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
    expect(await healthy.nextAssignment()).toMatchObject({ jobId: id, attempt: 1 });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    healthy.vanish();
    worker.vanish();
  });

  it('that leaves while its last heartbeats wait for the database is offline when they are written', async () => {
    const worker = await new ScriptedWorker(api, {
      pool: `pool-${pools++}`,
      silent: true,
    }).connect();
    const id = worker.welcome?.workerId;
    const lock = new pg.Client({ connectionString: api.databaseUrl });
    await lock.connect();
    const waiting = () =>
      lock.query(
        `SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`,
      );
    try {
      await lock.query('BEGIN');
      await lock.query('SELECT 1 FROM worker WHERE id = $1 FOR UPDATE', [id]);
      for (let beat = 0; beat < 3; beat++) void worker.heartbeat([]).catch(() => undefined);
      await until(async () => ((await waiting()).rowCount ?? 0) > 0);
      worker.leave();
      await until(() => worker.ended !== null);
      await lock.query('COMMIT');
    } finally {
      await lock.end();
    }
    // well before the missing heartbeats would end its stream
    await pause(LEASE_MS / 3);
    const state = () =>
      api.query<{ state: string }>('SELECT state FROM worker WHERE id = $1', [id]);
    expect(await state()).toEqual([{ state: 'offline' }]);
  });

  it('without recent heartbeats in the database gets no job, whatever its API process has seen', async () => {
    const pool = `pool-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, silent: true }).connect();
    await api.query(
      `UPDATE worker SET last_seen_at = clock_timestamp() - $2 * interval '1 millisecond' WHERE id = $1`,
      [worker.welcome?.workerId, LEASE_MS],
    );
    const id = await create(pool);
    worker.pull();
    await until(() => worker.ended !== null);
    expect(worker.ended).toContain('no heartbeat within a lease');
    expect(worker.assignments).toEqual([]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('whose join token was revoked gets no job, despite a recent heartbeat', async () => {
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
    expect(await healthy.nextAssignment()).toMatchObject({ jobId: id, attempt: 1 });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    healthy.vanish();
    worker.vanish();
  });

  it('without heartbeats or with a revoked token answers no chat', async () => {
    const silent = await new ScriptedWorker(api, { silent: true }).connect();
    await pause(LEASE_MS * 1.2);
    expect(await ask()).toEqual({ status: 503, code: 'no_worker' });
    const { token, revoke } = await revocable();
    const revoked = await new ScriptedWorker(api, { token, silent: true }).connect();
    await revoke();
    expect(await ask()).toEqual({ status: 503, code: 'no_worker' });
    await until(() => revoked.ended !== null);
    for (const worker of [silent, revoked]) {
      expect(worker.requests).toEqual([]);
      worker.vanish();
    }
  });

  it('with heartbeats keeps its stream for longer than a lease', async () => {
    const worker = await new ScriptedWorker(api).connect();
    await pause(LEASE_MS * 3);
    expect(worker.ended).toBeNull();
    worker.vanish();
  });
});

interface Shown {
  readonly id: string;
  readonly graft: {
    readonly phase: { code: string; message: string };
    readonly training_seconds: number;
    readonly worker_silent_seconds: number | null;
  };
}

describe('a job shows', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ retryBackoffMs: 50 });
    await importBase(api);
  });
  afterAll(() => api?.close());

  /** Returns the job, and checks that the list agrees with it. */
  async function shown(id: string): Promise<Shown> {
    const { data } = await api.get<{ data: Shown[] }>('/fine_tuning/jobs');
    const one = await api.get<Shown>(`/fine_tuning/jobs/${id}`);
    const listed = data.find((job) => job.id === id);
    expect(listed?.graft.worker_silent_seconds === null).toBe(
      one.graft.worker_silent_seconds === null,
    );
    return one;
  }
  const seen = (worker: ScriptedWorker, secondsAgo: number) =>
    api.query(
      `UPDATE worker SET last_seen_at = clock_timestamp() - $2 * interval '1 second' WHERE id = $1`,
      [worker.welcome?.workerId, secondsAgo],
    );

  it('how long it trained, without waiting, and how long its worker has been silent', async () => {
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
    });
    expect((await shown(id)).graft).toMatchObject({
      training_seconds: 0,
      worker_silent_seconds: null,
    });
    const worker = await new ScriptedWorker(api, { silent: true }).connect();
    const first = await worker.nextAssignment();
    await worker.report(first, started(0, 9), step(1), {
      kind: 'failed',
      payload: { code: 'crash', message: 'signal 9', param: '', retryable: true, stderr_tail: '' },
    });
    const second = await worker.nextAssignment();
    await worker.report(second, started(0, 9), step(1), step(2));
    const attempt = (number: number, from: number, to: number | null) =>
      api.query(
        `UPDATE attempt SET assigned_at = clock_timestamp() - interval '1 day',
           started_at = clock_timestamp() - $3 * interval '1 second',
           ended_at = clock_timestamp() - $4 * interval '1 second' WHERE job_id = $1 AND number = $2`,
        [id, number, from, to],
      );
    await attempt(first.attempt, 1000, 940);
    await attempt(second.attempt, 100, null);
    // A worker counts as silent only after two missing heartbeats of five seconds.
    await seen(worker, 2);
    const before = (await shown(id)).graft;
    expect(before.training_seconds).toBeGreaterThanOrEqual(160);
    expect(before.training_seconds).toBeLessThan(200);
    expect(before.worker_silent_seconds).toBeNull();
    expect(before.phase).toEqual({ code: 'training', message: 'Training: step 2 of 9' });
    await seen(worker, 12);
    const { phase, worker_silent_seconds } = (await shown(id)).graft;
    expect(worker_silent_seconds).toBeGreaterThanOrEqual(12);
    expect(phase.message).toMatch(
      /^No heartbeat from its worker for \d+ s; if it stays silent, the job will resume on another worker from its last checkpoint$/,
    );
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await seen(worker, 12);
    expect((await shown(id)).graft).toMatchObject({
      worker_silent_seconds: null,
      phase: { message: 'Cancelled by the user' },
    });
    worker.vanish();
  });
});
