import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApi, until, type TestApi } from './fixture.js';
import { StreamClient } from './stream-client.js';

const REQUESTS = { requestsPerMinute: 60, projectRequestsPerMinute: 90 };
const STREAMS = { streamsPerKey: 5, streams: 20 };

let api: TestApi;
const clients: StreamClient[] = [];
beforeAll(async () => {
  api = await startTestApi({ ...REQUESTS, ...STREAMS });
});
afterAll(async () => {
  for (const client of clients) client.leave();
  await api?.close();
});

/** Returns a key of a project, created in this project and moved there. */
async function keyOf(project: string): Promise<Pick<TestApi, 'url' | 'headers'>> {
  const { id, secret } = await api.post<{ id: string; secret: string }>('/keys', { name: project });
  await api.query(`INSERT INTO project (id, name) VALUES ($1, $1) ON CONFLICT DO NOTHING`, [
    project,
  ]);
  await api.query('UPDATE api_key SET project_id = $2 WHERE id = $1', [id, project]);
  return { url: api.url, headers: { authorization: `Bearer ${secret}` } };
}

it('keys of one project share a request limit', async () => {
  const keys = [await keyOf('crowd'), await keyOf('crowd'), await keyOf('crowd')];
  const quiet = await keyOf('quiet');
  const ask = ({ url, headers }: Pick<TestApi, 'url' | 'headers'>): Promise<Response> =>
    fetch(`${url}/v1/models`, { headers });
  const answers = await Promise.all(
    Array.from({ length: 150 }, (_, n) => ask(keys[n % 3] as (typeof keys)[0])),
  );
  const refused = answers.filter(({ status }) => status === 429);
  // 50 requests per key, each of which may send 60; three are replenished in two seconds
  expect(refused.length).toBeGreaterThan(30);
  expect(refused.length).toBeLessThanOrEqual(60);
  const [first] = refused;
  expect(first?.headers.get('x-ratelimit-limit-requests')).toBe('90');
  expect(first?.headers.get('retry-after')).toBe('1');
  expect(await first?.json()).toMatchObject({
    error: {
      code: 'rate_limit_exceeded',
      message: expect.stringContaining(
        'rate limit of 90 requests a minute exceeded by this project',
      ) as string,
    },
  });
  const answer = await ask(quiet);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('x-ratelimit-remaining-requests')).toBe('59');
});

it('keys of one project can open at most half of the streams', async () => {
  const open = (key: Pick<TestApi, 'url' | 'headers'>, count: number): StreamClient[] => {
    const opened = Array.from({ length: count }, () => new StreamClient(key, '/stream'));
    clients.push(...opened);
    return opened;
  };
  const mine = await Promise.all(Array.from({ length: 4 }, () => keyOf('watchers')));
  const theirs = await keyOf('others');
  const all = mine.flatMap((key) => open(key, 5));
  const of = (status: number): StreamClient[] => all.filter((client) => client.status === status);
  await until(() => of(200).length + of(429).length === 20);
  expect([of(200).length, of(429).length]).toEqual([10, 10]);
  const refused = await fetch(`${api.url}/v1/stream`, {
    headers: (await keyOf('watchers')).headers,
  });
  expect(await refused.json()).toMatchObject({
    error: {
      message: expect.stringContaining(
        'the API keys of this project have 10 event streams open',
      ) as string,
    },
  });
  const others = open(theirs, 5);
  await until(() => others.every(({ status }) => status === 200));
  // A closed stream frees a place.
  of(200)[0]?.leave();
  const next = async (): Promise<boolean> => {
    const [client] = open(mine[3] as (typeof mine)[0], 1);
    await until(() => client?.status !== 0);
    return client?.status === 200;
  };
  await until(next);
});
