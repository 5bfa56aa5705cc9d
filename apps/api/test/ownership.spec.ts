import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Lease } from '@graft/contracts/grpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REDIS_PORT } from '../../../test/servers.js';
import { importBase, listens, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

interface JobView {
  readonly id: string;
  readonly status: string;
  readonly error: { code: string; message: string } | null;
  readonly graft: {
    readonly phase: { code: string };
    readonly progress: { step: number };
    readonly attempts: readonly { number: number; outcome: string | null; from_step: number }[];
  };
}

const LEASE_MS = 1500;

/** Tests which worker may write what, on an API with short leases. */
function ownership(redis: boolean): void {
  let api: TestApi;
  let file: string;
  let pools = 0;

  beforeAll(async () => {
    api = await startTestApi({ redis, leaseMs: LEASE_MS, reconcileMs: 200, retryBackoffMs: 50 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(() => api?.close());

  const job = (id: string): Promise<JobView> => api.get(`/fine_tuning/jobs/${id}`);
  const status_ = async (id: string, wanted: string): Promise<void> =>
    until(async () => (await job(id)).status === wanted);

  /** Creates a job in its own pool, and connects a worker to the pool. */
  async function scene() {
    const pool = `pool-${pools++}`;
    const made = await api.post<JobView>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool },
    });
    const worker = await new ScriptedWorker(api, { pool, name: 'first' }).connect();
    return { id: made.id, pool, worker };
  }

  it('assigns a job once, as attempt 1, and renews the lease with heartbeats', async () => {
    const { id, pool, worker } = await scene();
    const other = await new ScriptedWorker(api, { pool, name: 'other' }).connect();
    other.pull();
    worker.pull();
    await until(() => worker.assignments.length + other.assignments.length > 0);
    const owner = worker.assignments.length > 0 ? worker : other;
    const lease = owner.assignments[0];
    expect(lease).toMatchObject({ jobId: id, attempt: 1 });
    if (lease) owner.keep(lease);
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 2.5));
    expect(await job(id)).toMatchObject({
      status: 'running',
      graft: { attempts: [{ number: 1, outcome: null }] },
    });
    expect(worker.assignments.length + other.assignments.length).toBe(1);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
    other.vanish();
  });

  it("resumes a lost worker's job from its last committed checkpoint, and rejects everything that the lost worker still writes", async () => {
    const { id, pool, worker } = await scene();
    const first = await worker.nextAssignment();
    await worker.report(first, started(0, 20), step(1), step(2), step(3), step(4));
    const state = await worker.put(first, 'optimizer.safetensors', 'moments at 3');
    await worker.report(first, saved(3, [state]));
    // The worker hangs: it sends no heartbeats, but its connection stays open.
    const second = await new ScriptedWorker(api, { pool, name: 'second' }).connect();
    const again = await second.nextAssignment();
    second.keep(again);
    expect(again).toMatchObject({ jobId: id, checkpointStep: 3, checkpoint: [state] });
    expect(again.attempt).toBeGreaterThan(first.attempt);
    expect((await second.fetch(state.sha256)).toString()).toBe('moments at 3');
    await second.report(again, started(3, 20), step(4), step(5));
    const events = await api.get<{ data: { message: string }[] }>(
      `/fine_tuning/jobs/${id}/events?limit=100`,
    );
    expect(events.data.map(({ message }) => message)).toContain(
      'The worker was lost; retrying from the last checkpoint now',
    );

    const before = await api.query(
      'SELECT * FROM metric WHERE job_id = $1 ORDER BY attempt, step',
      [id],
    );
    const stale = await worker.report(first, step(5, 99), step(6, 99));
    expect(stale.stale).toMatchObject([{ jobId: id, attempt: first.attempt }]);
    const refused = await worker.report(first, saved(6, [state]));
    expect(refused.stale).toHaveLength(1);
    await expect(worker.put(first, 'x', 'late')).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
    expect(await worker.finish(first, 20).catch((error: { code: number }) => error.code)).toBe(
      status.FAILED_PRECONDITION,
    );
    const beat = await worker.heartbeat([{ jobId: id, attempt: first.attempt, step: 6 }]);
    expect(beat).toMatchObject({ held: [], lost: [{ jobId: id, attempt: first.attempt }] });
    expect(
      await api.query('SELECT * FROM metric WHERE job_id = $1 ORDER BY attempt, step', [id]),
    ).toEqual(before);

    const metrics = await api.get<{ steps: number[]; marks: unknown[] }>(
      `/fine_tuning/jobs/${id}/metrics`,
    );
    expect(metrics.steps).toEqual([1, 2, 3, 4, 5]);
    expect(metrics.marks).toEqual([
      { step: 3, kind: 'attempt' },
      { step: 3, kind: 'checkpoint' },
    ]);
    await second.finish(again, 20);
    expect(await job(id)).toMatchObject({
      status: 'succeeded',
      graft: {
        attempts: [
          { number: first.attempt, outcome: 'lost_worker' },
          { number: again.attempt, outcome: 'done', from_step: 3 },
        ],
      },
    });
    worker.vanish();
    second.vanish();
  });

  it('rejects events and heartbeats for an attempt of another worker, or an earlier attempt of the same worker', async () => {
    const { id, pool, worker } = await scene();
    const first = await worker.nextAssignment();
    await worker.report(first, started(), {
      kind: 'stopped',
      payload: { reason: 'drain', step: 0 },
    });
    const second = await worker.nextAssignment();
    expect(second.attempt).toBeGreaterThan(first.attempt);
    await worker.report(second, started(), step(1));
    const other = await new ScriptedWorker(api, { pool, name: 'other' }).connect();
    const written = () =>
      api.query(
        `SELECT state, lease_until, event_counter, (SELECT array_agg(step) FROM metric WHERE job_id = job.id) AS steps
         FROM job WHERE id = $1`,
        [id],
      );
    // Nothing here renews the lease, except the messages that must not.
    const before = await written();
    expect(before).toMatchObject([{ state: 'running', steps: [1] }]);
    const stale = [{ jobId: id, attempt: first.attempt }];
    expect((await worker.report(first, step(7))).stale).toMatchObject(stale);
    expect(await worker.heartbeat([{ ...stale[0], step: 0 } as Lease])).toMatchObject({
      held: [],
      lost: stale,
    });
    const others = [{ jobId: id, attempt: second.attempt }];
    // Sequence numbers beyond those that the owner has sent.
    const ahead = Array.from({ length: 5 }, () => other.event(second, step(8)));
    expect((await other.batch(ahead)).stale).toMatchObject(others);
    expect(await other.heartbeat([{ ...others[0], step: 0 } as Lease])).toMatchObject({
      held: [],
      lost: others,
    });
    expect(await written()).toEqual(before);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
    other.vanish();
  });

  it('stores a replayed batch once, and counts only a different loss as a mismatch', async () => {
    const { id, worker } = await scene();
    const lease = await worker.nextAssignment();
    const events = [
      worker.event(lease, started(0, 5)),
      worker.event(lease, step(1)),
      worker.event(lease, step(2)),
    ];
    for (let n = 0; n < 3; n++) expect((await worker.batch(events)).stale).toEqual([]);
    const more = [...events.slice(1), worker.event(lease, step(3))];
    await worker.batch(more);
    const count = async (table: string) =>
      (
        await api.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM ${table} WHERE job_id = $1`,
          [id],
        )
      )[0]?.n;
    expect(await count('metric')).toBe(3);
    expect(await count('event')).toBe(3 + 1 + 3);
    // Failed, so it resumes: steps 1 and 2 are repeated, step 3 with another loss.
    await worker.report(lease, {
      kind: 'failed',
      payload: {
        code: 'crash',
        message: 'signal 11',
        param: '',
        retryable: true,
        stderr_tail: 'boom',
      },
    });
    const again = await worker.nextAssignment();
    const log = (level: 'info' | 'warn', message: string) =>
      ({ kind: 'log', payload: { level, message, code: '' } }) as const;
    await worker.report(again, log('info', 'reads data'), log('warn', 'another trainer made it'));
    await worker.report(again, started(0, 5), step(1), step(2), step(3, 0.125));
    const [row] = await api.query<{ replay_mismatches: number }>(
      'SELECT replay_mismatches FROM job WHERE id = $1',
      [id],
    );
    expect(row?.replay_mismatches).toBe(1);
    const logs = await api.get<{ data: { message: string }[] }>(`/fine_tuning/jobs/${id}/logs`);
    expect(logs.data.map((line) => line.message)).toEqual(['reads data', 'boom']);
    const shown = await api.get<{ data: object[] }>(`/fine_tuning/jobs/${id}/events?limit=100`);
    expect(shown.data).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'another trainer made it' }),
    );
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('cancels a running job immediately, and notifies the worker', async () => {
    const { id, worker } = await scene();
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(), step(1));
    expect(await api.post(`/fine_tuning/jobs/${id}/cancel`)).toMatchObject({ status: 'cancelled' });
    await until(() => worker.commands.length > 0);
    expect(worker.commands[0]).toMatchObject({ jobId: id, attempt: lease.attempt, action: 1 });
    expect((await worker.report(lease, step(2))).stale).toHaveLength(1);
    expect(await job(id)).toMatchObject({
      status: 'cancelled',
      graft: { attempts: [{ outcome: 'cancelled' }] },
    });
    worker.vanish();
  });

  it('resumes from the previous checkpoint if the newest is damaged', async () => {
    const { id, pool, worker } = await scene();
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 9), step(1), step(2));
    const states = [];
    for (const at of [1, 2]) {
      const state = await worker.put(lease, 'state', `${id} at ${at}`);
      await worker.report(lease, saved(at, [state]));
      states.push(state);
    }
    const { sha256 } = states[1] as (typeof states)[number];
    truncateSync(join(api.home, 'blobs', sha256.slice(0, 2), sha256), 3);
    const second = await new ScriptedWorker(api, { pool, name: 'heir' }).connect();
    expect(await second.nextAssignment()).toMatchObject({
      jobId: id,
      checkpointStep: 1,
      checkpoint: [states[0]],
    });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
    second.vanish();
  });

  it('pauses after the checkpoint and resumes from it', async () => {
    const { id, worker } = await scene();
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 9), step(1), step(2));
    expect(await api.post(`/fine_tuning/jobs/${id}/pause`)).toMatchObject({
      status: 'running',
      graft: { phase: { code: 'pausing' } },
    });
    await until(() => worker.commands.some((command) => command.action === 2));
    const beat = await worker.heartbeat([{ jobId: id, attempt: lease.attempt, step: 2 }]);
    expect(beat.held).toHaveLength(1);
    await until(() => worker.commands.filter((command) => command.action === 2).length > 1);
    const state = await worker.put(lease, 'state', 'at 2');
    await worker.report(lease, saved(2, [state]), {
      kind: 'stopped',
      payload: { reason: 'pause', step: 2 },
    });
    expect(await job(id)).toMatchObject({ status: 'paused' });
    expect(await api.post(`/fine_tuning/jobs/${id}/resume`)).toMatchObject({ status: 'queued' });
    const again = await worker.nextAssignment();
    expect(again).toMatchObject({ checkpointStep: 2, checkpoint: [state] });
    await worker.report(again, { kind: 'stopped', payload: { reason: 'drain', step: 2 } });
    await status_(id, 'queued');
    expect((await job(id)).graft.attempts.map((attempt) => attempt.outcome)).toEqual([
      'paused',
      'drained',
    ]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('pauses at the last stored checkpoint if the newest one could not be stored', async () => {
    const { id, worker } = await scene();
    const lease = await worker.nextAssignment();
    const state = await worker.put(lease, 'state', `${id} at 2`);
    await worker.report(lease, started(0, 9), step(1), step(2), saved(2, [state]));
    await worker.report(lease, step(3), step(4), step(5));
    await api.post(`/fine_tuning/jobs/${id}/pause`);
    const stopped = { kind: 'stopped', payload: { reason: 'pause', step: 5 } } as const;
    await worker.report(lease, stopped);
    expect(await job(id)).toMatchObject({
      status: 'paused',
      graft: {
        phase: { code: 'paused', message: 'Paused by the user at step 2' },
        progress: { step: 2 },
      },
    });
    const { data } = await api.get<{ data: { level: string; message: string }[] }>(
      `/fine_tuning/jobs/${id}/events`,
    );
    expect(data.slice(0, 2)).toMatchObject([
      { level: 'info', message: 'The job was paused at step 2' },
      {
        level: 'warn',
        message: 'The checkpoint at step 5 could not be stored; resuming from step 2',
      },
    ]);
    await api.post(`/fine_tuning/jobs/${id}/resume`);
    const again = await worker.nextAssignment();
    expect(again).toMatchObject({ checkpointStep: 2, checkpoint: [state] });
    await worker.report(again, started(2, 9), step(3));
    await worker.report(again, { kind: 'stopped', payload: { reason: 'drain', step: 3 } });
    expect(
      (await api.get<{ data: object[] }>(`/fine_tuning/jobs/${id}/events`)).data.slice(0, 2),
    ).toMatchObject([
      { message: 'The worker is draining; the job will resume on another worker from step 2' },
      {
        level: 'warn',
        message: 'The checkpoint at step 3 could not be stored; resuming from step 2',
      },
    ]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('continues if a pause is revoked before the worker has stopped', async () => {
    const { id, worker } = await scene();
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 9), step(1));
    await api.post(`/fine_tuning/jobs/${id}/pause`);
    expect(await api.post(`/fine_tuning/jobs/${id}/resume`)).toMatchObject({
      status: 'running',
      graft: { phase: { code: 'training' } },
    });
    await worker.report(lease, step(2));
    expect(await job(id)).toMatchObject({
      status: 'running',
      graft: { phase: { code: 'training', message: 'Training: step 2 of 9' } },
    });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('fails after three crashes without progress; a checkpoint resets the count', async () => {
    const { id, worker } = await scene();
    const crash = {
      kind: 'failed',
      payload: { code: 'crash', message: 'signal 11', param: '', retryable: true, stderr_tail: '' },
    } as const;
    for (let n = 0; n < 2; n++) {
      await worker.report(await worker.nextAssignment(), started(), crash);
      expect((await job(id)).status).toBe('queued');
    }
    const third = await worker.nextAssignment();
    const state = await worker.put(third, 'state', `progress`);
    await worker.report(third, started(), step(1), saved(1, [state]), crash);
    expect((await job(id)).status).toBe('queued');
    for (let n = 0; n < 2; n++)
      await worker.report(await worker.nextAssignment(), started(1), crash);
    expect(await job(id)).toMatchObject({ status: 'failed', error: { code: 'crash' } });
    worker.vanish();
  });

  it("fails a job immediately with the user's error", async () => {
    const { id, worker } = await scene();
    await worker.report(await worker.nextAssignment(), {
      kind: 'failed',
      payload: {
        code: 'user_error',
        message: 'no example fits max_seq_len 8',
        param: 'graft.max_seq_len',
        retryable: false,
        stderr_tail: '',
      },
    });
    expect(await job(id)).toMatchObject({
      status: 'failed',
      error: {
        code: 'user_error',
        message: 'no example fits max_seq_len 8',
        param: 'graft.max_seq_len',
      },
    });
    worker.vanish();
  });

  it('keeps the lease of a worker that reconnects in time, and kills its other runs', async () => {
    const { id, pool, worker } = await scene();
    const lease = await worker.nextAssignment();
    worker.vanish();
    const instance = 'same-instance';
    const fresh = await new ScriptedWorker(api, { pool, instance }).connect();
    await status_(id, 'queued').catch(() => undefined);
    const again = await fresh.nextAssignment();
    fresh.vanish();
    const back = await new ScriptedWorker(api, {
      pool,
      instance,
      leases: [
        { jobId: id, attempt: again.attempt, step: 0 },
        { jobId: id, attempt: lease.attempt, step: 0 },
      ],
    }).connect();
    await until(() => back.commands.length > 0);
    expect(back.commands).toMatchObject([{ jobId: id, attempt: lease.attempt, action: 3 }]);
    expect((await back.report(again, started(), step(1))).stale).toEqual([]);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    back.vanish();
  });

  it('assigns a job whose queue token was lost', async () => {
    const pool = `pool-${pools++}`;
    const made = await api.post<JobView>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool },
    });
    // The token is consumed while the job is paused, as if the queue had been flushed.
    await api.query(`UPDATE job SET state = 'paused' WHERE id = $1`, [made.id]);
    const worker = await new ScriptedWorker(api, { pool }).connect();
    worker.pull();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(worker.assignments).toEqual([]);
    await api.query(`UPDATE job SET state = 'queued' WHERE id = $1`, [made.id]);
    await until(() => worker.assignments.length === 1);
    await api.post(`/fine_tuning/jobs/${made.id}/cancel`);
    worker.vanish();
  });

  it('expires no lease for one lease duration after a restart', async () => {
    const { id, worker } = await scene();
    const lease = await worker.nextAssignment();
    await api.restart(() =>
      api.query(`UPDATE job SET lease_until = now() - interval '1 hour' WHERE id = $1`, [id]),
    );
    expect((await job(id)).status).toBe('running');
    const back = await new ScriptedWorker(api, { instance: 'other' }).connect();
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 0.6));
    expect(await job(id)).toMatchObject({
      status: 'running',
      graft: { attempts: [{ number: lease.attempt, outcome: null }] },
    });
    await status_(id, 'queued');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
    back.vanish();
  });

  it('rejects wrong tokens, other pools, and a Hello without a version, with the reason', async () => {
    const wrong = await new ScriptedWorker(api, { token: 'jt-graft-nope' }).connect();
    expect(wrong.ended).toContain('join token');
    const nameless = await new ScriptedWorker(api, { schemaVersion: 0 }).connect();
    expect(nameless.ended).toContain('the Hello message has no schema_version');
    const { secret, id } = await api.post<{ secret: string; id: string }>('/join_tokens', {
      name: 'gpu',
      pool: 'gpus',
    });
    const elsewhere = await new ScriptedWorker(api, { token: secret }).connect();
    expect(elsewhere.ended).toContain('valid for pool gpus only');
    const right = await new ScriptedWorker(api, { token: secret, pool: 'gpus' }).connect();
    expect(right.welcome).toMatchObject({ leaseMs: LEASE_MS, maxUnacked: 8 });
    await fetch(`${api.url}/v1/join_tokens/${id}`, { method: 'DELETE', headers: api.headers });
    const revoked = await new ScriptedWorker(api, { token: secret, pool: 'gpus' }).connect();
    expect(revoked.ended).toContain('revoked');
    for (const worker of [wrong, nameless, elsewhere, right, revoked]) worker.vanish();
  });

  it('allows workers only blobs of models and running jobs, and rejects uploads that differ from their announcement', async () => {
    const { id, worker } = await scene();
    const secret = await api.client.files.create({
      file: new File(['{"text":"private"}'], 'x'),
      purpose: 'fine-tune',
    });
    const [row] = await api.query<{ sha256: string }>('SELECT sha256 FROM file WHERE id = $1', [
      secret.id,
    ]);
    await expect(worker.fetch(row?.sha256 ?? '')).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(worker.fetch('../../etc/passwd')).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    const lease = await worker.nextAssignment();
    const sha256 = 'a'.repeat(64);
    await expect(worker.put(lease, 'x', 'content', { sha256 })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(worker.put(lease, 'x', 'content', { size: 3 })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(worker.put(lease, '../x', 'content')).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(
      worker.put({ ...lease, attempt: lease.attempt + 1 }, 'x', 'content'),
    ).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    const training = lease.trainingFile;
    expect((await worker.fetch(training?.sha256 ?? '', 10)).length).toBe(
      (training?.size ?? 0) - 10,
    );
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });
}

describe('ownership, queue in PostgreSQL', () => ownership(false));
describe.skipIf(!(await listens(REDIS_PORT)))('ownership, queue in Redis', () => ownership(true));
