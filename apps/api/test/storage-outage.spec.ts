// Storage or the database fails while a job is prepared for its worker.
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { Assignment } from '@graft/contracts/grpc';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { writeTinyBase } from '../../../test/tiny-base.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

interface Seen {
  readonly status: string;
  readonly error: { readonly code: string | null };
  readonly graft: {
    readonly phase: { readonly message: string };
    readonly attempts: readonly { readonly outcome: string | null }[];
  };
}

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ reconcileMs: 200, retryBackoffMs: 200 });
  await importBase(api);
});
afterAll(() => api?.close());

const blobs = (): string => join(api.home, 'blobs');
const away = (): string => join(api.home, 'away');
const back = (): void => {
  rmSync(blobs(), { recursive: true, force: true });
  renameSync(away(), blobs());
};
const job = (id: string): Promise<Seen> => api.get(`/fine_tuning/jobs/${id}`);
const secondEnds = (id: string): Promise<void> =>
  until(async () => ((await job(id)).graft.attempts[1]?.outcome ?? null) !== null, 30_000);
const counts = (id: string): Promise<unknown[]> =>
  api.query('SELECT crash_count, infra_count FROM job WHERE id = $1', [id]);
const isOverdue = async (id: string): Promise<boolean> => {
  const sql = `SELECT 1 FROM job WHERE id = $1 AND not_before < clock_timestamp() - interval '1 second'`;
  return (await api.query(sql, [id])).length > 0;
};
const eventTexts = async (id: string): Promise<string> => {
  const path = `/fine_tuning/jobs/${id}/events?limit=100`;
  const { data } = await api.get<{ data: { message: string }[] }>(path);
  return data.map(({ message }) => message).join('\n');
};

/** Creates a job that waits with a checkpoint at step 1; returns it with the worker that released it. */
async function waiting(pool: string): Promise<{ id: string; worker: ScriptedWorker }> {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool },
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  const state = await worker.put(lease, 'state', `${id} at 1`);
  await worker.report(lease, started(0, 9), step(1), saved(1, [state]));
  await worker.report(lease, { kind: 'stopped', payload: { reason: 'drain', step: 1 } });
  return { id, worker };
}

it.each([
  ['missing', () => undefined],
  ['unreadable', () => mkdirSync(join(blobs(), 'installation'), { recursive: true })],
])('a job whose storage is %s waits for it', async (_, instead) => {
  const { id, worker } = await waiting(`place-${String(_).replaceAll(' ', '-')}`);
  renameSync(blobs(), away());
  instead();
  try {
    worker.pull();
    await secondEnds(id);
    // Without the pause of the pool, the job would have been assigned again by then.
    await until(() => isOverdue(id));
    const seen = await job(id);
    expect(seen).toMatchObject({ status: 'queued', error: null });
    expect(seen.graft.phase.message).toBe('Storage is not available; the job waits for a retry');
    const events = await eventTexts(id);
    expect(events).toContain('Storage is not available; the job is retried in');
    expect(JSON.stringify(seen) + events).not.toContain(api.home);
  } finally {
    back();
  }
  await until(() => worker.assignments.length === 2);
  expect(worker.assignments[1]).toMatchObject({ jobId: id, checkpointStep: 1 });
  expect(await counts(id)).toEqual([{ crash_count: 0, infra_count: 0 }]);
  await worker.finish(worker.assignments[1] as Assignment, 9);
  const { status, graft } = await job(id);
  expect(status).toBe('succeeded');
  expect(graft.attempts.map(({ outcome }) => outcome)).toEqual(['drained', 'not_prepared', 'done']);
  worker.leave();
});

it('a job without a checkpoint waits for its base and data, and its worker can fetch them again', async () => {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool: 'fresh' },
  });
  // A storage check of an earlier job is cached for a second.
  await setTimeout(1100);
  renameSync(blobs(), away());
  const worker = await new ScriptedWorker(api, { pool: 'fresh' }).connect();
  try {
    worker.pull();
    await until(async () => (await job(id)).graft.attempts[0]?.outcome === 'not_prepared');
    expect((await job(id)).graft.phase.message).toMatch(/^Storage is not available; the job /);
    expect(worker.assignments).toEqual([]);
  } finally {
    back();
  }
  const lease = await worker.nextAssignment(30_000);
  worker.keep(lease);
  const { sha256, size } = lease.trainingFile!;
  renameSync(blobs(), away());
  try {
    await expect(worker.fetch(sha256)).rejects.toMatchObject({ code: status.UNAVAILABLE });
  } finally {
    back();
  }
  expect((await worker.fetch(sha256)).length).toBe(size);
  await expect(worker.fetch('0'.repeat(64))).rejects.toMatchObject({ code: status.NOT_FOUND });
  expect(await counts(id)).toEqual([{ crash_count: 0, infra_count: 0 }]);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.leave();
});

it('requests for files return 503, and an import continues after the storage is back', async () => {
  const file = await uploadChats(api);
  const dir = writeTinyBase(join(api.home, 'another'));
  const ask = (path: string): Promise<Response> =>
    fetch(`${api.url}/v1${path}`, { headers: api.headers });
  const model = async (): Promise<unknown> =>
    (await api.get<{ graft: { status: string } }>('/models/later')).graft.status;
  const ready = async (): Promise<unknown[]> => {
    const answer = await fetch(`${api.url}/readyz`);
    return [answer.status, ((await answer.json()) as { storage: string }).storage];
  };
  await until(async () => (await ready()).join() === '200,ok');
  renameSync(blobs(), away());
  try {
    for (const path of [`/files/${file}/records`, `/files/${file}/content`]) {
      const answer = await ask(path);
      const { error } = (await answer.json()) as { error: { code: string; message: string } };
      expect([path, answer.status, error.code]).toEqual([path, 503, 'unavailable']);
      expect(error.message).toMatch(/^storage is not available/);
      expect(error.message).not.toContain(api.home);
    }
    expect(await ready()).toEqual([200, 'down']);
    expect(await caught(uploadChats(api))).toMatchObject({ status: 503, code: 'unavailable' });
    await api.post('/models', { id: 'later', source: `dir:${dir}` });
    await until(async () => {
      const free = `SELECT 1 FROM model WHERE id = 'later' AND import_owner IS NULL`;
      return (await model()) !== 'importing' || (await api.query(free)).length > 0;
    });
    expect(await model()).toBe('importing');
  } finally {
    back();
  }
  await until(async () => (await model()) === 'ready', 30_000);
});

it('an import of an unreadable folder fails instead of waiting for storage', async () => {
  const dir = mkdtempSync(join(api.home, 'unreadable-'));
  // A link to itself.
  symlinkSync(join(dir, 'config.json'), join(dir, 'config.json'));
  await api.post('/models', { id: 'unreadable', source: `dir:${dir}` });
  const model = () =>
    api.get<{ graft: { status: string; status_details: string } }>('/models/unreadable');
  await until(async () => (await model()).graft.status !== 'importing');
  expect((await model()).graft).toMatchObject({
    status: 'error',
    status_details: expect.stringContaining(`${dir} cannot be read: ELOOP`) as unknown,
  });
});

it('a checkpoint that cannot be examined does not count as lost', async () => {
  const { id, worker } = await waiting('unreadable');
  const [file] = await api.query<{ sha256: string }>(
    `SELECT files->0->>'sha256' AS sha256 FROM checkpoint WHERE job_id = $1`,
    [id],
  );
  const name = file?.sha256 ?? '';
  const path = join(blobs(), name.slice(0, 2), name);
  renameSync(path, away());
  // Reading a link to itself fails with ELOOP.
  symlinkSync(path, path);
  worker.pull();
  await secondEnds(id);
  expect((await job(id)).graft.phase.message).toMatch(/^Storage is not available; the job /);
  renameSync(away(), path);
  await until(() => worker.assignments.length === 2);
  expect(worker.assignments[1]).toMatchObject({ jobId: id, checkpointStep: 1 });
  expect(await counts(id)).toEqual([{ crash_count: 0, infra_count: 0 }]);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.leave();
});

it('a job waits without counting a failure if the database does not respond', async () => {
  const { id, worker } = await waiting('locked');
  // The API's statement timeout ends its query after 5 s.
  const lock = api.query(`BEGIN; LOCK TABLE checkpoint; SELECT pg_sleep(20)`);
  lock.catch(() => undefined);
  const [holder] = await holding();
  try {
    worker.pull();
    await secondEnds(id);
    // The phase may already be that of the next attempt.
    expect(await eventTexts(id)).toContain('The database is not available; the job is retried in');
    expect(await counts(id)).toEqual([{ crash_count: 0, infra_count: 0 }]);
  } finally {
    await api.query('SELECT pg_terminate_backend($1)', [holder?.pid]);
  }
  await until(() => worker.assignments.length === 2);
  expect(worker.assignments[1]).toMatchObject({ jobId: id, checkpointStep: 1 });
  expect(await counts(id)).toEqual([{ crash_count: 0, infra_count: 0 }]);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  worker.leave();
});

it('a job fails after three attempts if its preparation hits a bug', async () => {
  const { id, worker } = await waiting('bug');
  // Reading this row causes a TypeError. A trigger normally prevents such a row.
  const [base] = await api.query<{ id: string; files: unknown }>(
    'SELECT model.id, files FROM model JOIN job ON job.base_id = model.id WHERE job.id = $1',
    [id],
  );
  const write = (files: unknown): Promise<unknown> =>
    api.query(`BEGIN; SET LOCAL session_replication_role = replica;
      UPDATE model SET files = '${JSON.stringify(files)}' WHERE id = '${base?.id}'; COMMIT`);
  await write({ not: 'a list' });
  try {
    worker.pull();
    await until(async () => (await job(id)).status === 'failed', 30_000);
  } finally {
    await write(base?.files);
  }
  const { error, graft } = await job(id);
  expect(error).toMatchObject({
    code: 'preparation_failed',
    message: expect.stringMatching(/^The server could not prepare the job .*3 times/) as string,
  });
  expect(graft.attempts.map(({ outcome }) => outcome)).toEqual([
    'drained',
    ...Array.from({ length: 3 }, () => 'preparation_failed'),
  ]);
  worker.leave();
});

/** Returns the backend that locks the table, after it has the lock. */
async function holding(): Promise<{ pid: number }[]> {
  const ask = (): Promise<{ pid: number }[]> =>
    api.query(
      `SELECT pid FROM pg_locks WHERE relation = 'checkpoint'::regclass AND mode = 'AccessExclusiveLock' AND granted`,
    );
  await until(async () => (await ask()).length > 0);
  return ask();
}
