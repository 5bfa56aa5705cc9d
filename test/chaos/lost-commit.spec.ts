import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  listens,
  POSTGRES_PORT,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../e2e/api-fixture.js';
import { cuttingProxy, type CuttingProxy } from './cutting-proxy.js';

// PostgreSQL commits, and the connection is cut before the API hears of it.

describe.skipIf(!(await listens(POSTGRES_PORT)))('a COMMIT whose answer is lost', () => {
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
    'makes one job and answers with it (Idempotency-Key: %s)',
    async (key) => {
      const before = await jobs();
      const cuts = proxy.cuts;
      proxy.cutAfter('INSERT INTO "job"');
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

  it('keeps an upload once', async () => {
    proxy.cutAfter('INSERT INTO "file"');
    const cuts = proxy.cuts;
    const id = await uploadChats(api, 13);
    expect(proxy.cuts).toBe(cuts + 1);
    expect((await api.client.files.list()).data.map((each) => each.id)).toContain(id);
  });
});
