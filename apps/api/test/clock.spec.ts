import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { chats, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

// The API's own clock is wrong; the database's clock is used instead.

const HOUR_MS = 3_600_000;

/** Moves this process's clock, which the API also uses; it continues from there. */
function ahead(ms: number): void {
  const Real = Date;
  vi.stubGlobal(
    'Date',
    class extends Real {
      constructor(...given: [] | [number | string | Date]) {
        super(...((given.length === 0 ? [Real.now() + ms] : given) as [number]));
      }
      static override now(): number {
        return Real.now() + ms;
      }
    },
  );
}

describe('an API whose clock is ahead', () => {
  let api: TestApi;
  let file: string;

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: 1500, reconcileMs: 200 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterEach(() => vi.unstubAllGlobals());
  afterAll(() => api?.close());

  const create = async (pool: string): Promise<string> =>
    (
      await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file,
        graft: { pool },
      })
    ).id;
  const state = (id: string, to: string) =>
    api.query('UPDATE job SET state = $2 WHERE id = $1', [id, to]);

  it('by an hour reissues a lost queue token, twice', async () => {
    ahead(HOUR_MS);
    const pool = 'clocks';
    const id = await create(pool);
    // A worker's pull consumes the token while the job is paused, so it is lost as from an emptied queue.
    const lose = async (): Promise<void> => {
      await state(id, 'paused');
      const worker = await new ScriptedWorker(api, { pool }).connect();
      worker.pull();
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect(worker.assignments).toEqual([]);
      worker.vanish();
      await state(id, 'queued');
    };
    const reissued = async (): Promise<number> => {
      const text = await (await fetch(`${api.url}/metrics`, { headers: api.headers })).text();
      return Number(/^graft_queue_entries_reissued_total (\d+)/m.exec(text)?.[1]);
    };
    // Tokens are reissued only if a worker serves the pool.
    const idle = await new ScriptedWorker(api, { pool }).connect();
    await lose();
    await until(async () => (await reissued()) === 1);
    await lose();
    idle.vanish();
    const worker = await new ScriptedWorker(api, { pool }).connect();
    expect(await worker.nextAssignment()).toMatchObject({ jobId: id });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('by a minute still streams every change of a project', async () => {
    ahead(60_000);
    const left = new AbortController();
    const response = await fetch(`${api.url}/v1/stream`, {
      headers: api.headers,
      signal: left.signal,
    });
    let seen = '';
    const reading = (async () => {
      for await (const chunk of response.body ?? []) seen += Buffer.from(chunk).toString();
    })().catch(() => undefined);
    await until(() => seen.includes('event: ready'));
    const id = await create('unserved');
    await until(() => seen.includes(id));
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await until(() => seen.includes('"cancelled"'));
    left.abort();
    await reading;
  });

  it('by an hour accepts a key and a join token until they expire', async () => {
    const expires_at = Math.floor(Date.now() / 1000) + 1800;
    const key = await api.post<{ secret: string }>('/keys', {
      name: 'short',
      scopes: ['jobs:read'],
      expires_at,
    });
    const token = await api.post<{ secret: string }>('/join_tokens', { expires_at });
    const list = () =>
      fetch(`${api.url}/v1/fine_tuning/jobs`, {
        headers: { authorization: `Bearer ${key.secret}` },
      });
    ahead(HOUR_MS);
    expect((await list()).status).toBe(200);
    const worker = await new ScriptedWorker(api, { token: token.secret }).connect();
    expect(worker.welcome).not.toBeNull();
    worker.vanish();
    vi.unstubAllGlobals();
    await api.query(`UPDATE api_key SET expires_at = clock_timestamp() WHERE name = 'short'`);
    await until(async () => (await list()).status === 401);
  });

  it('by two hours keeps a file until it expires, and sets a correct expiry', async () => {
    const upload = async () => {
      const form = new FormData();
      form.append('purpose', 'fine-tune');
      form.append('expires_after[anchor]', 'created_at');
      form.append('expires_after[seconds]', '3600');
      form.append('file', new File([chats(12)], 'chats.jsonl'));
      const answer = await fetch(`${api.url}/v1/files`, {
        method: 'POST',
        headers: api.headers,
        body: form,
      });
      return (await answer.json()) as { id: string; created_at: number; expires_at: number };
    };
    const before = await upload();
    ahead(2 * HOUR_MS);
    expect(await api.get(`/files/${before.id}`)).toMatchObject({ id: before.id });
    const { id, created_at, expires_at } = await upload();
    expect(Math.abs(expires_at - created_at - 3600)).toBeLessThan(60);
    vi.unstubAllGlobals();
    await api.query('UPDATE file SET expires_at = clock_timestamp() WHERE id = $1', [id]);
    await expect(api.get(`/files/${id}`)).rejects.toThrow('404');
  });
});
