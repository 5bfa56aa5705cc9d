import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker, type WorkerRequest } from './scripted-worker.js';

interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly text: string;
  readonly error: { code: string; message: string } | undefined;
}

const QUEUE = 3;
/** Advisory lock of the chat queue (chat/answers/answer-rows.ts). */
const QUEUE_LOCK = 7_202_611;

describe('chat admission', () => {
  let api: TestApi;
  const workers: ScriptedWorker[] = [];
  beforeAll(async () => {
    api = await startTestApi({ chatQueue: QUEUE, chatWaitMs: 3_000 });
    await importBase(api);
    for (const name of ['a', 'b'])
      await api.query(`INSERT INTO project (id, name) VALUES ('proj-' || $1, $1)`, [name]);
  });
  afterAll(() => api?.close());
  afterEach(async () => {
    for (const worker of workers.splice(0)) worker.vanish();
    await until(async () => (await rows()).length === 0);
    await until(
      async () => (await api.query(`SELECT 1 FROM worker WHERE state <> 'offline'`)).length === 0,
    );
  });

  const join = async (options: ConstructorParameters<typeof ScriptedWorker>[1]) => {
    const worker = await new ScriptedWorker(api, options).connect();
    workers.push(worker);
    return worker;
  };
  const rows = () =>
    api.query<{ project_id: string; worker_id: string | null }>(
      'SELECT project_id, worker_id FROM answer ORDER BY created_at',
    );
  const waiting = (count: number) =>
    until(async () => (await rows()).filter((row) => row.worker_id === null).length === count);

  /** Keys of other projects, by project id. They are created in this project; then their row is moved. */
  const keys = new Map<string, string>();
  async function keyOf(project: string): Promise<string> {
    let secret = keys.get(project);
    if (!secret) {
      const key = await api.post<{ id: string; secret: string }>('/keys', { name: project });
      await api.query('UPDATE api_key SET project_id = $2 WHERE id = $1', [key.id, project]);
      secret = key.secret;
      keys.set(project, secret);
    }
    return secret;
  }

  async function ask(project: string, content: string, signal?: AbortSignal): Promise<Answer> {
    const response = await fetch(`${api.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await keyOf(project)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content }] }),
      ...(signal ? { signal } : {}),
    });
    const body = (await response.json()) as {
      error?: Answer['error'];
      choices?: { message: { content: string } }[];
    };
    return {
      status: response.status,
      retryAfter: response.headers.get('retry-after'),
      text: body.choices?.[0]?.message.content ?? '',
      error: body.error,
    };
  }
  const contentOf = ({ messages }: Pick<WorkerRequest, 'messages'>): string =>
    messages[0]?.content ?? '';

  it('rejects chats beyond the limit of the project', async () => {
    const worker = await join({});
    await api.query(`UPDATE project SET limits = '{"chats": 1}' WHERE id = 'proj-a'`);
    const first = ask('proj-a', '1');
    const { id } = await worker.nextRequest();
    const limits = await fetch(`${api.url}/v1/limits`, {
      headers: { authorization: `Bearer ${await keyOf('proj-a')}` },
    });
    expect(((await limits.json()) as { data: object[] }).data).toContainEqual({
      name: 'chats',
      limit: 1,
      used: 1,
    });
    const refused = await ask('proj-a', '2');
    expect(refused).toMatchObject({
      status: 429,
      retryAfter: '5',
      error: {
        code: 'insufficient_quota',
        message: expect.stringContaining(
          'reached its limit of 1 chats in progress (1 in progress)',
        ),
      },
    });
    // The limit of one project does not apply to another.
    const other = ask('proj-b', '3');
    worker.sendText((await worker.nextRequest()).id, 'b');
    expect((await other).text).toBe('b');
    worker.sendText(id, 'a');
    expect((await first).text).toBe('a');
    const next = ask('proj-a', '4');
    worker.sendText((await worker.nextRequest()).id, 'again');
    expect((await next).text).toBe('again');
    await api.query(`UPDATE project SET limits = '{}' WHERE id = 'proj-a'`);
  });

  it('does not wait for the queue lock if there is free capacity', async () => {
    const worker = await join({});
    const holder = new pg.Client({ connectionString: api.databaseUrl });
    await holder.connect();
    try {
      await holder.query('SELECT pg_advisory_lock($1)', [QUEUE_LOCK]);
      const answers = [ask('proj-a', '1'), ask('proj-b', '2')];
      for (const _ of answers) worker.sendText((await worker.nextRequest()).id, 'done');
      expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(['done', 'done']);
      await until(async () => (await rows()).length === 0);
    } finally {
      await holder.end();
    }
  });

  it('never exceeds the capacity of the worker, however many chats start together', async () => {
    const worker = await join({ maxChats: 5 });
    const answers = Array.from({ length: 8 }, (_, n) => ask(`proj-${'ab'[n % 2]}`, `${n}`));
    const open: string[] = [];
    for (let n = 0; n < 5; n++) open.push((await worker.nextRequest()).id);
    await waiting(QUEUE);
    expect((await rows()).filter((row) => row.worker_id !== null)).toHaveLength(5);
    expect(worker.requests).toHaveLength(5);
    for (const id of open) worker.sendText(id, 'done');
    for (let n = 0; n < QUEUE; n++) worker.sendText((await worker.nextRequest()).id, 'done');
    expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(Array(8).fill('done'));
  });

  it('rejects chats after the daily tokens of the project are used, and counts their own', async () => {
    const worker = await join({});
    const tokens = async () =>
      Number(
        (
          await api.query<{ sum: string | null }>(
            `SELECT sum(tokens) FROM usage WHERE project_id = 'proj-a'`,
          )
        )[0]?.sum ?? 0,
      );
    const before = await tokens();
    await api.query(`UPDATE project SET limits = $1 WHERE id = 'proj-a'`, [
      JSON.stringify({ tokens_per_day: before + 256 }),
    ]);
    const first = ask('proj-a', '1');
    // The count is capped at the requested tokens, whatever the worker reports.
    worker.sendText((await worker.nextRequest()).id, 'all', 'stop', '', 1_000_000);
    expect((await first).text).toBe('all');
    expect(await tokens()).toBe(before + 256);
    expect(await ask('proj-a', '2')).toMatchObject({
      status: 429,
      error: { code: 'insufficient_quota', message: expect.stringContaining('tokens_per_day') },
    });
    await api.query(`UPDATE project SET limits = '{}' WHERE id = 'proj-a'`);
  });

  it('waits for a free slot of the worker, and projects take turns', async () => {
    const worker = await join({ maxChats: 1 });
    const order: string[] = [];
    const asks = [ask('proj-a', 'a1')];
    let { id, ...question } = await worker.nextRequest();
    for (const [n, name] of ['a2', 'a3', 'b1'].entries()) {
      asks.push(ask(`proj-${name[0]}`, name));
      await waiting(n + 1);
    }
    for (;;) {
      order.push(contentOf(question));
      expect(worker.requests).toHaveLength(order.length);
      worker.sendText(id, 'done');
      if (order.length === asks.length) break;
      ({ id, ...question } = await worker.nextRequest());
    }
    expect(order).toEqual(['a1', 'b1', 'a2', 'a3']);
    expect((await Promise.all(asks)).map(({ text }) => text)).toEqual(Array(4).fill('done'));
  });

  it('limits the queue, and no project can fill it alone', async () => {
    const worker = await join({ maxChats: 1 });
    const first = ask('proj-a', 'first');
    const { id } = await worker.nextRequest();
    const queued = ['a1', 'a2', 'a3'].map((name) => ask('proj-a', name));
    await waiting(QUEUE);
    const refused = {
      status: 429,
      retryAfter: '5',
      error: {
        code: 'queue_full',
        message: expect.stringContaining(`the queue of ${QUEUE} chats is full`),
      },
    };
    expect(await ask('proj-a', 'a4')).toMatchObject(refused);
    const other = ask('proj-b', 'b1');
    const evicted = await Promise.race(queued);
    expect(evicted).toMatchObject(refused);
    await waiting(QUEUE);
    worker.sendText(id, 'done');
    const served = [];
    for (let n = 0; n < QUEUE; n++) {
      const question = await worker.nextRequest();
      served.push(contentOf(question));
      worker.sendText(question.id, 'done');
    }
    expect(served[0]).toBe('b1');
    const answers = await Promise.all([first, other, ...queued]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
  });

  it('ends the wait after chatWaitMs, or if the client leaves', async () => {
    const worker = await join({ maxChats: 1 });
    const first = ask('proj-a', 'first');
    const { id } = await worker.nextRequest();
    const leaving = new AbortController();
    const left = ask('proj-b', 'left', leaving.signal).catch(() => 'left');
    await waiting(1);
    const inProcess = async (): Promise<string[]> =>
      (await (await fetch(`${api.url}/metrics`, { headers: api.headers })).text())
        .split('\n')
        .filter((line) => line.startsWith('graft_chats{'));
    expect(await inProcess()).toEqual([
      'graft_chats{state="in_progress"} 1',
      'graft_chats{state="waiting"} 1',
    ]);
    leaving.abort();
    expect(await left).toBe('left');
    await waiting(0);
    await until(async () => (await inProcess())[1] === 'graft_chats{state="waiting"} 0');
    const began = performance.now();
    expect(await ask('proj-b', 'late')).toMatchObject({
      status: 429,
      retryAfter: '5',
      error: { code: 'queue_full', message: expect.stringContaining('within 3 s') },
    });
    expect(performance.now() - began).toBeGreaterThan(2_900);
    worker.sendText(id, 'done');
    await first;
    expect(worker.requests).toHaveLength(1);
  });

  it('ends the wait if there is no worker left to wait for', async () => {
    const worker = await join({ maxChats: 1 });
    const answers = [ask('proj-a', '1'), ask('proj-a', '2')];
    await waiting(1);
    worker.vanish();
    const codes = (await Promise.all(answers)).map(({ status, error }) => [status, error?.code]);
    expect(codes.sort()).toEqual([
      [503, 'no_worker'],
      [503, 'unavailable'],
    ]);
  });

  it('uses only workers of pools that the project may use', async () => {
    const worker = await join({ pool: 'secret' });
    await api.query(`UPDATE pool SET open = false WHERE name = 'secret'`);
    expect(await ask('proj-a', '1')).toMatchObject({ status: 503, error: { code: 'no_worker' } });
    await api.query(`INSERT INTO pool_grant (pool, project_id) VALUES ('secret', 'proj-a')`);
    const granted = ask('proj-a', '2');
    worker.sendText((await worker.nextRequest()).id, 'granted');
    expect((await granted).text).toBe('granted');
    expect(await ask('proj-b', '3')).toMatchObject({ status: 503, error: { code: 'no_worker' } });
    expect(worker.requests.map(contentOf)).toEqual(['2']);
    for (const [table, column] of [
      ['worker', 'id'],
      ['pool', 'name'],
    ]) {
      const name = table === 'worker' ? worker.welcome?.workerId : 'secret';
      const cordon = (yes: boolean) =>
        api.query(`UPDATE ${table} SET cordoned = $2 WHERE ${column} = $1`, [name, yes]);
      await cordon(true);
      expect((await ask('proj-a', '4')).status).toBe(503);
      await cordon(false);
    }
  });

  it('uses no worker that is draining, even before its next heartbeat', async () => {
    const worker = await join({ silent: true });
    worker.send({ $case: 'draining', value: { reason: 'a test' } });
    await until(
      async () => (await api.query(`SELECT 1 FROM worker WHERE state = 'draining'`)).length === 1,
    );
    expect(await ask('proj-a', '1')).toMatchObject({ status: 503, error: { code: 'no_worker' } });
  });

  it('prefers the worker that has the base loaded, while it has a free slot', async () => {
    const cold = await join({ name: 'cold', maxChats: 4 });
    const warm = await join({ name: 'warm', maxChats: 1 });
    warm.pull(1, ['tiny']);
    await warm.heartbeat([]);
    const first = ask('proj-a', '1');
    const { id } = await warm.nextRequest();
    const second = ask('proj-a', '2');
    cold.sendText((await cold.nextRequest()).id, 'cold');
    warm.sendText(id, 'warm');
    expect([(await first).text, (await second).text]).toEqual(['warm', 'cold']);
  });

  it('retries on another worker if the chosen one turns out to be full', async () => {
    const full = await join({ name: 'full' });
    full.pull(1, ['tiny']);
    await full.heartbeat([]);
    const other = await join({ name: 'other' });
    const answer = ask('proj-a', '1');
    full.sendText((await full.nextRequest()).id, '', 'error', 'queue_full');
    other.sendText((await other.nextRequest()).id, 'other');
    expect((await answer).text).toBe('other');
    // If it is the only worker, it is asked again after it reports a free slot.
    other.vanish();
    const again = ask('proj-a', '2');
    await waiting(1);
    await full.heartbeat([]);
    full.sendText((await full.nextRequest()).id, 'full');
    expect((await again).text).toBe('full');
  });

  it('does not count answers of a process that is gone', async () => {
    const worker = await join({ maxChats: 1 });
    await api.query(
      `INSERT INTO answer (id, project_id, base_id, worker_id, gateway_id, blobs, until)
       VALUES ('gen-lost', 'proj-a', 'tiny', $1, 'api-gone', '[]', clock_timestamp() + interval '1 second')`,
      [worker.welcome?.workerId],
    );
    const answer = ask('proj-b', '1');
    worker.sendText((await worker.nextRequest()).id, 'done');
    expect((await answer).text).toBe('done');
  });
});
