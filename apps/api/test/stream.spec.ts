import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';
import { StreamClient } from './stream-client.js';

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, n) => from + n);

describe('event streams', () => {
  let api: TestApi;
  let pools = 0;
  beforeAll(async () => {
    api = await startTestApi();
    await importBase(api);
  });
  afterAll(() => api?.close());

  async function runningJob() {
    const pool = `pool-${pools++}`;
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool },
    });
    const worker = await new ScriptedWorker(api, { pool }).connect();
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 100));
    return { id, worker, lease };
  }

  it('replays events, continues live, and sends the retry interval', async () => {
    const { id, worker, lease } = await runningJob();
    const client = new StreamClient(api, `/fine_tuning/jobs/${id}/stream`);
    await until(() => client.ids.length === 4);
    expect(client.text[0]).toBe('retry: 2000');
    expect(client.seen[0]).toMatchObject({
      kind: 'job',
      id: null,
      data: { id, status: 'running' },
    });
    expect(client.ids).toEqual([1, 2, 3, 4]);
    await worker.report(lease, step(1, 3.5));
    await until(() => client.seen.some(({ kind }) => kind === 'metrics'));
    expect(client.seen.find(({ kind }) => kind === 'metrics')).toEqual({
      id: 5,
      kind: 'metrics',
      data: {
        step: 1,
        loss: 3.5,
        learning_rate: 1e-4,
        grad_norm: 1,
        tokens_per_second: 200,
        accuracy: 0.5,
        supervised_tokens: 40,
      },
    });
    await until(() =>
      client.seen.some(
        ({ kind, data }) =>
          kind === 'job' &&
          (data as { graft: { progress: { step: number } } }).graft.progress.step === 1,
      ),
    );
    client.leave();
    worker.vanish();
  });

  it('loses and repeats no event over many disconnects during many events', async () => {
    const { id, worker, lease } = await runningJob();
    const total = 300;
    const sending = (async () => {
      for (let n = 1; n <= total; n += 3)
        await worker.report(lease, step(n), step(n + 1), step(n + 2));
    })();
    const ids: number[] = [];
    let last: string | undefined;
    let visits = 0;
    while (ids.at(-1) !== total + 4) {
      const client = new StreamClient(api, `/fine_tuning/jobs/${id}/stream`, last);
      visits++;
      // On a busy machine, responses may be slow: disconnect at a random time after the first new event.
      await until(() => client.ids.length > 0);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      client.leave();
      ids.push(...client.ids);
      last = ids.length > 0 ? String(ids.at(-1)) : undefined;
      expect(visits).toBeLessThan(500);
    }
    await sending;
    expect(ids).toEqual(range(1, total + 4));
    expect(visits).toBeGreaterThan(2);
    worker.vanish();
  });

  it('continues after a restart of the API', async () => {
    const { id, worker, lease } = await runningJob();
    const before = new StreamClient(api, `/fine_tuning/jobs/${id}/stream`);
    await worker.report(lease, step(1));
    await until(() => before.ids.at(-1) === 5);
    await api.restart();
    const back = await new ScriptedWorker(api, { pool: 'elsewhere' }).connect();
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    const after = new StreamClient(
      api,
      `/fine_tuning/jobs/${id}/stream`,
      String(before.ids.at(-1)),
    );
    await until(() => after.ids.length > 0);
    expect(after.ids).toEqual([6]);
    expect(after.seen.find((event) => event.id === 6)?.data).toMatchObject({
      message: 'The job was cancelled',
    });
    after.leave();
    worker.vanish();
    back.vanish();
  });

  it('ignores an invalid position, and sends a reset for one in the future', async () => {
    const { id, worker } = await runningJob();
    for (const bad of ['-1', 'x', '1e3', '99999999999999999999', '1; DROP']) {
      const client = new StreamClient(api, `/fine_tuning/jobs/${id}/stream`, bad);
      await until(() => client.ids.length === 4);
      client.leave();
    }
    const future = new StreamClient(api, `/fine_tuning/jobs/${id}/stream`, '5000');
    await until(() => future.ids.length === 4);
    expect(future.seen[0]?.kind).toBe('reset');
    future.leave();
    const none = new StreamClient(api, '/fine_tuning/jobs/ftjob-none/stream');
    await until(() => none.status !== 0);
    expect(none.status).toBe(404);
    worker.vanish();
  });

  it('delivers the whole project in one stream', async () => {
    const client = new StreamClient(api, '/stream');
    await until(() => client.status === 200);
    const { id, worker, lease } = await runningJob();
    await worker.report(lease, step(1));
    const state = (wanted: string) =>
      client.seen.some(
        ({ kind, data }) => kind === 'job' && data['id'] === id && data['status'] === wanted,
      );
    await until(() => state('running'));
    const last = String(client.ids.at(-1));
    client.leave();
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    const again = new StreamClient(api, '/stream', last);
    await until(() =>
      again.seen.some(({ data }) => data['id'] === id && data['status'] === 'cancelled'),
    );
    again.leave();
    worker.vanish();
  });

  it('delivers more changes than one read returns', async () => {
    const pool = `pool-${pools++}`;
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool },
    });
    // Copies of the job, all changed at the same time as in a burst of submissions.
    await api.query(
      `INSERT INTO job SELECT copy.* FROM job, generate_series(1, 1200) AS n,
         jsonb_populate_record(job, jsonb_build_object('id', 'ftjob-burst' || n, 'state', 'cancelled',
           'updated_at', clock_timestamp() + n * interval '0.1 milliseconds')) AS copy WHERE job.id = $1`,
      [id],
    );
    const client = new StreamClient(api, '/stream');
    const burst = () =>
      new Set(
        client.seen
          .map(({ data }) => String(data['id']))
          .filter((name) => name.startsWith('ftjob-burst')),
      );
    await until(() => burst().size === 1200);
    client.leave();
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await api.query(`DELETE FROM job WHERE id LIKE 'ftjob-burst%'`);
  });

  it('sends an initial id in a quiet project, with which a client can reconnect', async () => {
    const client = new StreamClient(api, '/stream');
    await until(() => client.seen.length > 0);
    const [first] = client.seen;
    expect(first?.kind).toBe('ready');
    expect(Math.abs((first?.id ?? 0) - Date.now())).toBeLessThan(60_000);
    client.leave();
  });

  it('serves two hundred clients of one job', async () => {
    const { id, worker, lease } = await runningJob();
    const clients = range(1, 200).map(
      () => new StreamClient(api, `/fine_tuning/jobs/${id}/stream`),
    );
    await until(() => clients.every((client) => client.ids.length === 4), 60_000);
    const began = Date.now();
    await worker.report(lease, step(1));
    await until(() => clients.every((client) => client.ids.at(-1) === 5), 60_000);
    console.log(`one step reached 200 watchers after ${Date.now() - began} ms`);
    for (const client of clients) client.leave();
    worker.vanish();
  });
});
