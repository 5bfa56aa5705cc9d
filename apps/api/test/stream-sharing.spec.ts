import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';
import { StreamClient } from './stream-client.js';

// The API's bundle contains its own pg; the compiled files share the one that is spied on below.
vi.mock('@graft/api', () => import('../dist/index.js'));

const PER_KEY = 60;
const IN_ALL = 80;

describe('event streams of two API processes', () => {
  let a: TestApi;
  let b: TestApi;
  let pools = 0;
  const clients: StreamClient[] = [];
  const workers: ScriptedWorker[] = [];
  beforeAll(async () => {
    a = await startTestApi({
      streamsPerKey: PER_KEY,
      streamsPerProject: IN_ALL + 1,
      streams: IN_ALL,
    });
    b = await startTestApi({ beside: a });
    await importBase(a);
  });
  afterAll(async () => {
    await b?.close();
    await a?.close();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
    for (const worker of workers.splice(0)) worker.vanish();
    vi.restoreAllMocks();
  });

  const watch = (
    api: Pick<TestApi, 'url' | 'headers'>,
    path: string,
    lastId?: string,
  ): StreamClient => {
    const client = new StreamClient(api, path, lastId);
    clients.push(client);
    return client;
  };
  async function runningJob() {
    const pool = `pool-${pools++}`;
    const { id } = await a.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(a),
      graft: { pool },
    });
    const worker = await new ScriptedWorker(a, { pool }).connect();
    workers.push(worker);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 1000));
    return { id, worker, lease, stream: `/fine_tuning/jobs/${id}/stream` };
  }
  const newKey = (more: object = {}) =>
    a.post<{ id: string; secret: string }>('/keys', { name: 'stream', ...more });
  const as = (api: TestApi, { secret }: { secret: string }) => ({
    url: api.url,
    headers: { authorization: `Bearer ${secret}` },
  });

  it('lose and repeat no event while a client alternates between them', async () => {
    const { worker, lease, stream } = await runningJob();
    const total = 240;
    const sending = (async () => {
      for (let n = 1; n <= total; n += 3)
        await worker.report(lease, step(n), step(n + 1), step(n + 2));
    })();
    const ids: number[] = [];
    for (let visit = 0; ids.at(-1) !== total + 4; visit++) {
      const last = ids.length > 0 ? String(ids.at(-1)) : undefined;
      const client = watch(visit % 2 ? a : b, stream, last);
      await until(() => client.ids.length > 0);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      client.leave();
      ids.push(...client.ids);
      expect(visit).toBeLessThan(500);
    }
    await sending;
    expect(ids).toEqual(Array.from({ length: total + 4 }, (_, n) => n + 1));
  });

  it('deliver the changes of a project in both', async () => {
    const watching = [a, b].map((api) => watch(api, '/stream'));
    await until(() => watching.every(({ seen }) => seen.length > 0));
    const { id } = await runningJob();
    await a.post(`/fine_tuning/jobs/${id}/cancel`);
    const cancelled = (client: StreamClient): boolean =>
      client.seen.some(({ data }) => data['id'] === id && data['status'] === 'cancelled');
    await until(() => watching.every(cancelled));
    // A later client with an earlier position gets the change from the other process as well.
    const late = watch(b, '/stream', String(watching[0]?.seen[0]?.id));
    await until(() => cancelled(late));
  });

  it('deliver events without a notification after a few seconds', async () => {
    const { id, stream } = await runningJob();
    const watching = [a, b].map((api) => watch(api, stream));
    await until(() => watching.every(({ ids }) => ids.at(-1) === 4));
    await a.query(
      `WITH changed AS (UPDATE job SET event_counter = 5 WHERE id = $1)
       INSERT INTO event (job_id, number, level, type, message) VALUES ($1, 5, 'info', 'message', 'quiet')`,
      [id],
    );
    await until(() => watching.every(({ ids }) => ids.at(-1) === 5));
  });

  it('of one job share a reader', async () => {
    const { worker, lease, stream } = await runningJob();
    const watching = Array.from({ length: 50 }, () => watch(a, stream));
    await until(() => watching.every(({ ids }) => ids.at(-1) === 4), 30_000);
    const query = vi.spyOn(pg.Client.prototype, 'query');
    const reads = (table: string): number =>
      query.mock.calls.filter(([asked]) => {
        const text = typeof asked === 'string' ? asked : ((asked as { text?: string })?.text ?? '');
        return text.includes(`FROM "${table}"`);
      }).length;
    await worker.report(lease, step(1));
    await until(() => watching.every(({ ids }) => ids.at(-1) === 5), 30_000);
    expect(reads('event')).toBeGreaterThan(0);
    // One per read: after the step, and every five seconds on a slow machine.
    expect(reads('event')).toBeLessThan(15);
    expect(reads('job')).toBeLessThan(25);
  });

  it('that start far behind catch up from the table, and then share the reader', async () => {
    const { worker, lease, stream } = await runningJob();
    const live = watch(a, stream);
    for (let n = 1; n <= 1_200; n += 100)
      await worker.report(lease, ...Array.from({ length: 100 }, (_, k) => step(n + k)));
    await until(() => live.ids.at(-1) === 1_204, 30_000);
    const late = watch(a, stream);
    await until(() => late.ids.at(-1) === 1_204, 30_000);
    await worker.report(lease, step(1_201));
    await until(() => late.ids.at(-1) === 1_205 && live.ids.at(-1) === 1_205);
    for (const { ids } of [late, live])
      expect(ids).toEqual(Array.from({ length: 1_205 }, (_, n) => n + 1));
  });

  it('end when their key is revoked, expires, or its project is archived', async () => {
    const { stream } = await runningJob();
    const revoked = await newKey();
    const expired = await newKey();
    const archived = await newKey();
    await a.query(`INSERT INTO project (id, name) VALUES ('proj-gone', 'gone')`);
    await a.query(`UPDATE api_key SET project_id = 'proj-gone' WHERE id = $1`, [archived.id]);
    const ending = [
      watch(as(a, revoked), stream),
      watch(as(b, revoked), '/stream'),
      watch(as(b, expired), stream),
      watch(as(a, archived), '/stream'),
    ];
    const staying = watch(a, stream);
    await until(() => [...ending, staying].every(({ status }) => status === 200));
    await fetch(`${a.url}/v1/keys/${revoked.id}`, { method: 'DELETE', headers: a.headers });
    await a.query(`UPDATE api_key SET expires_at = clock_timestamp() WHERE id = $1`, [expired.id]);
    await a.query(`UPDATE project SET archived_at = clock_timestamp() WHERE id = 'proj-gone'`);
    await until(() => ending.every(({ ended }) => ended));
    expect(staying.ended).toBe(false);
    const again = watch(as(a, revoked), stream);
    await until(() => again.status === 401);
  });

  it('are limited per key and in total, and a closed one frees a place', async () => {
    const { stream } = await runningJob();
    const mine = await newKey();
    const open = Array.from({ length: PER_KEY }, () => watch(as(a, mine), stream));
    await until(() => open.every(({ status }) => status === 200), 30_000);
    const refused = async (key: { secret: string }) => {
      const response = await fetch(`${a.url}/v1/stream`, { headers: as(a, key).headers });
      return {
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        error: ((await response.json()) as { error: object }).error,
      };
    };
    expect(await refused(mine)).toMatchObject({
      status: 429,
      retryAfter: '10',
      error: {
        code: 'rate_limit_exceeded',
        message: expect.stringContaining(`${PER_KEY} event streams open`),
      },
    });
    const other = await newKey();
    const more = Array.from({ length: IN_ALL - PER_KEY }, () => watch(as(a, other), '/stream'));
    await until(() => more.every(({ status }) => status === 200), 30_000);
    expect(await refused(other)).toMatchObject({
      status: 429,
      error: { message: expect.stringContaining(`${IN_ALL} event streams are open`) },
    });
    open[0]?.leave();
    let next = watch(as(a, mine), stream);
    await until(() => {
      if (next.status === 429) next = watch(as(a, mine), stream);
      return next.status === 200;
    });
  });
});
