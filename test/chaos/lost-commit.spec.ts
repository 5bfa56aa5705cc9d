import { Command_Action } from '@graft/contracts/grpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  listens,
  POSTGRES_PORT,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';
import { cuttingProxy, type CuttingProxy } from './cutting-proxy.js';

// PostgreSQL commits, and the connection is cut before the API receives the response.

describe.skipIf(!(await listens(POSTGRES_PORT)))('a COMMIT whose response is lost', () => {
  let proxy: CuttingProxy;
  let api: TestApi;
  let file: string;

  beforeAll(async () => {
    proxy = await cuttingProxy(POSTGRES_PORT);
    api = await startTestApi({ databasePort: proxy.port });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(async () => {
    await api?.close();
    proxy?.close();
  });

  const create = async (key?: string): Promise<{ status: number; id: string }> => {
    const response = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
      method: 'POST',
      headers: {
        ...api.headers,
        'content-type': 'application/json',
        ...(key ? { 'idempotency-key': key } : {}),
      },
      body: JSON.stringify({ model: 'tiny', training_file: file }),
    });
    return { status: response.status, id: ((await response.json()) as { id: string }).id };
  };
  const jobs = async (): Promise<string[]> =>
    (await api.query<{ id: string }>('SELECT id FROM job')).map(({ id }) => id);

  it.each([undefined, 'a key of mine'])(
    'creates one job and returns it (Idempotency-Key: %s)',
    async (key) => {
      const before = await jobs();
      const cuts = proxy.cuts;
      // Matches a parameter, because a prepared statement does not send its text again.
      proxy.cutAfter('moving job to queued state');
      const made = await create(key);
      expect(proxy.cuts).toBe(cuts + 1);
      expect(made.status).toBe(200);
      expect((await jobs()).filter((id) => !before.includes(id))).toEqual([made.id]);
      const [outbox] = await api.query<{ count: number }>(
        'SELECT count(*)::int AS count FROM outbox WHERE job_id = $1',
        [made.id],
      );
      expect(outbox?.count).toBe(1);
      const events = await api.get<{ data: unknown[] }>(`/fine_tuning/jobs/${made.id}/events`);
      expect(events.data).toHaveLength(3);
    },
  );

  it('cancels a job once', async () => {
    const { id } = await create();
    proxy.cutAfter(`state = 'cancelled'`);
    const cuts = proxy.cuts;
    expect(await api.post(`/fine_tuning/jobs/${id}/cancel`)).toMatchObject({ status: 'cancelled' });
    expect(proxy.cuts).toBe(cuts + 1);
    const events = await api.get<{ data: { message: string }[] }>(`/fine_tuning/jobs/${id}/events`);
    expect(events.data.filter(({ message }) => message.includes('cancelled'))).toHaveLength(1);
  });

  it('stores an upload once', async () => {
    proxy.cutAfter('INSERT INTO "file"');
    const cuts = proxy.cuts;
    const id = await uploadChats(api, 13);
    expect(proxy.cuts).toBe(cuts + 1);
    expect((await api.client.files.list()).data.map((each) => each.id)).toContain(id);
  });

  const remove = async (path: string): Promise<{ status: number; deleted: unknown }> => {
    const answer = await fetch(`${api.url}/v1${path}`, { method: 'DELETE', headers: api.headers });
    return {
      status: answer.status,
      deleted: ((await answer.json()) as { deleted?: unknown }).deleted,
    };
  };

  it.each([
    ['an API key', '/keys', 'UPDATE api_key SET revoked_at', { name: 'x', scopes: ['jobs:read'] }],
    ['a join token', '/join_tokens', 'UPDATE join_token SET revoked_at', {}],
  ])('revokes %s once, and reports it', async (_, path, marker, body) => {
    const { id } = await api.post<{ id: string }>(path, body);
    const cuts = proxy.cuts;
    proxy.cutAfter(marker);
    expect(await remove(`${path}/${id}`)).toEqual({ status: 200, deleted: true });
    expect(proxy.cuts).toBe(cuts + 1);
    expect((await remove(`${path}/${id}`)).status).toBe(404);
  });

  it('deletes a file and a model once, and reports it', async () => {
    const id = await uploadChats(api, 14);
    await importBase(api, 'spare');
    const cuts = proxy.cuts;
    proxy.cutAfter('DELETE FROM "file"');
    expect(await remove(`/files/${id}`)).toEqual({ status: 200, deleted: true });
    proxy.cutAfter('DELETE FROM "model"');
    expect(await remove('/models/spare')).toEqual({ status: 200, deleted: true });
    expect(proxy.cuts).toBe(cuts + 2);
  });

  it('pauses and resumes a waiting job once', async () => {
    const { id } = await create();
    const cuts = proxy.cuts;
    proxy.cutAfter(`SET state = 'paused'`);
    expect(await api.post(`/fine_tuning/jobs/${id}/pause`)).toMatchObject({ status: 'paused' });
    proxy.cutAfter(`SET state = 'queued'`);
    expect(await api.post(`/fine_tuning/jobs/${id}/resume`)).toMatchObject({ status: 'queued' });
    expect(proxy.cuts).toBe(cuts + 2);
    const events = await api.get<{ data: { message: string }[] }>(`/fine_tuning/jobs/${id}/events`);
    const messages = events.data.map(({ message }) => message);
    expect(messages.filter((message) => /paused|resumed/.test(message))).toHaveLength(2);
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
  });

  it.each([
    ['pause', `SET desired_state = 'pause'`, Command_Action.ACTION_PAUSE],
    ['cancel', `state = 'cancelled'`, Command_Action.ACTION_CANCEL],
  ])('sends the worker one %s command', async (verb, marker, action) => {
    const pool = `told-to-${verb}`;
    const worker = await new ScriptedWorker(api, { pool }).connect();
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool },
    });
    expect(await worker.nextAssignment()).toMatchObject({ jobId: id });
    const cuts = proxy.cuts;
    proxy.cutAfter(marker);
    await api.post(`/fine_tuning/jobs/${id}/${verb}`);
    expect(proxy.cuts).toBe(cuts + 1);
    await until(() =>
      worker.commands.some((command) => command.jobId === id && command.action === action),
    );
    worker.vanish();
  });
});
