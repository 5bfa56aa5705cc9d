import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './api-fixture.js';
import { ScriptedWorker, started, step } from './api-worker.js';

// What Prometheus sees of the real server.

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3000, reconcileMs: 200, retryBackoffMs: 50 });
  await importBase(api);
});
afterAll(() => api?.close());

const keyWith = async (scopes?: string[]): Promise<string> =>
  (await api.post<{ secret: string }>('/keys', { name: 'k', ...(scopes && { scopes }) })).secret;

async function scrape(key: string): Promise<Response> {
  return fetch(`${api.url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
}

/** The figures of one scrape by name and labels. */
async function figures(key: string): Promise<Map<string, number>> {
  const lines = (await (await scrape(key)).text()).split('\n');
  return new Map(
    lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  );
}

async function submit(pool: string): Promise<string> {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool },
  });
  return id;
}

describe('/metrics', () => {
  it('takes a key for metrics, which opens nothing else, and no ordinary key', async () => {
    const key = await keyWith(['metrics:read']);
    const answer = await scrape(key);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
    ]);
    expect((await scrape(await keyWith())).status).toBe(403);
    const jobs = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(jobs.status).toBe(403);
  });

  it('counts queues, workers, ends of jobs and lost leases, and labels nothing that users choose', async () => {
    const worker = await new ScriptedWorker(api, { pool: 'gpu' }).connect();
    const done = await submit('gpu');
    const lease = await worker.assigned();
    const waiting = await submit('gpu');
    await submit('chosen-by-a-user');
    await worker.tell(lease, started(), step(1));
    const running = await figures(api.apiKey);
    expect(running.get('graft_jobs{pool="gpu",state="running"}')).toBe(1);
    expect(running.get('graft_jobs{pool="gpu",state="queued"}')).toBe(1);
    expect(running.get('graft_jobs{pool="other",state="queued"}')).toBe(1);
    expect(running.get('graft_workers{state="online"}')).toBe(1);
    await api.post(`/fine_tuning/jobs/${waiting}/cancel`);
    await worker.finish(lease, 10);
    const over = await figures(api.apiKey);
    expect(over.get('graft_jobs{pool="gpu",state="succeeded"}')).toBe(1);
    expect(over.get('graft_jobs{pool="gpu",state="running"}')).toBeUndefined();
    expect(over.get('graft_job_seconds_count{state="succeeded"}')).toBe(1);
    expect(over.get('graft_job_seconds_count{state="cancelled"}')).toBeUndefined(); // it never ran
    expect(over.get('graft_leases_expired_total')).toBe(0);
    const post = [...over].filter(([name]) => /_seconds_count\{method="POST"/.test(name));
    expect(post.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThanOrEqual(4);
    for (const text of ['chosen-by-a-user', done, waiting, 'fine_tuning'])
      expect([...over.keys()].join()).not.toContain(text);

    await submit('gpu');
    await worker.assigned();
    worker.vanish();
    await until(
      async () => (await figures(api.apiKey)).get('graft_leases_expired_total') === 1,
      10_000,
    );
    await until(
      async () => (await figures(api.apiKey)).get('graft_workers{state="offline"}') === 1,
    );
  });
});
