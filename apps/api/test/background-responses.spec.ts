// Background responses through the official SDK, with a worker that the tests control.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LimitsObject } from '@graft/contracts';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
let client: OpenAI;
let worker: ScriptedWorker;
beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3_000 });
  client = api.client;
  await importBase(api);
});
afterEach(async () => {
  worker?.vanish();
  await api.query('DELETE FROM response');
  await until(
    async () => (await api.query(`SELECT 1 FROM worker WHERE state <> 'offline'`)).length === 0,
  );
});
afterAll(() => api?.close());

const MAIN = fileURLToPath(new URL('process.mjs', import.meta.url));
const PATIENCE_MS = 40_000;

const ask = { model: 'tiny', input: 'hello?', background: true } as const;
type Response = OpenAI.Responses.Response;

const connect = async (): Promise<ScriptedWorker> =>
  (worker = await new ScriptedWorker(api, { maxChats: 4 }).connect());
const create = (more: object = {}): Promise<Response> =>
  client.responses.create({ ...ask, ...more });
const become = async (id: string, status: Response['status']): Promise<Response> => {
  let response = await client.responses.retrieve(id);
  await until(async () => {
    response = await client.responses.retrieve(id);
    return response.status === status;
  }, PATIENCE_MS);
  return response;
};

describe('background responses', () => {
  it('are returned immediately, and generated afterwards', async () => {
    await connect();
    const queued = await create({ metadata: { team: 'ads' } });
    expect(queued).toMatchObject({
      status: 'queued',
      background: true,
      store: true,
      output: [],
      usage: null,
    });
    const { id } = await worker.nextRequest();
    const started = await become(queued.id, 'in_progress');
    expect(started).toMatchObject({ id: queued.id, output: [], metadata: { team: 'ads' } });
    const early = caught(
      client.responses.create({ model: 'tiny', input: 'more', previous_response_id: queued.id }),
    );
    expect(await early).toMatchObject({ status: 400, param: 'previous_response_id' });
    worker.sendText(id, 'Hi', '');
    worker.sendText(id, ' there');
    const done = await become(queued.id, 'completed');
    expect(done).toMatchObject({
      id: queued.id,
      created_at: queued.created_at,
      output_text: 'Hi there',
      usage: { input_tokens: 9 },
    });
    expect((await client.responses.inputItems.list(queued.id)).data).toMatchObject([
      { role: 'user', content: [{ text: 'hello?' }] },
    ]);
    const next = await create({ input: 'more', previous_response_id: queued.id });
    const second = await worker.nextRequest();
    expect(second.messages.map(({ content }) => content)).toEqual(['hello?', 'Hi there', 'more']);
    worker.sendText(second.id, 'again');
    expect((await become(next.id, 'completed')).output_text).toBe('again');
  });

  it('are rejected if they are wrong, before they are stored', async () => {
    expect(await caught(create({ store: false }))).toMatchObject({
      status: 400,
      code: 'invalid_value',
      param: 'background',
    });
    expect(await caught(create({ model: 'none' }))).toMatchObject({ status: 404, param: 'model' });
    expect(await caught(create({ max_output_tokens: 30_000 }))).toMatchObject({
      param: 'max_output_tokens',
    });
    expect(await api.query('SELECT 1 FROM response')).toEqual([]);
  });

  it('end as incomplete or failed', async () => {
    await connect();
    const cut = await create({ max_output_tokens: 1 });
    const piece = { text: 'Hi', finish_reason: 'length', prompt_tokens: 9, completion_tokens: 1 };
    worker.reply((await worker.nextRequest()).id, piece);
    expect(await become(cut.id, 'incomplete')).toMatchObject({
      output_text: 'Hi',
      incomplete_details: { reason: 'max_output_tokens' },
    });
    const failing = await create();
    worker.sendText((await worker.nextRequest()).id, '', 'error', 'crash');
    expect(await become(failing.id, 'failed')).toMatchObject({
      error: { code: 'server_error', message: 'refused by a test: crash' },
    });
  });

  it('are cancelled on request, once', async () => {
    await connect();
    const { id } = await create();
    const request = await worker.nextRequest();
    expect(await client.responses.cancel(id)).toMatchObject({ id, status: 'cancelled' });
    await until(() => worker.cancelled.includes(request.id));
    worker.sendText(request.id, 'late');
    expect(await client.responses.cancel(id)).toMatchObject({ status: 'cancelled', output: [] });
    expect(await client.responses.retrieve(id)).toMatchObject({ status: 'cancelled' });

    const done = await create();
    worker.sendText((await worker.nextRequest()).id, 'done');
    await become(done.id, 'completed');
    expect(await client.responses.cancel(done.id)).toMatchObject({ status: 'completed' });

    const whole = client.responses.create({ ...ask, background: false });
    worker.sendText((await worker.nextRequest()).id, 'done');
    expect(await caught(client.responses.cancel((await whole).id))).toMatchObject({
      status: 400,
      param: 'response_id',
      message: expect.stringContaining('Cannot cancel a synchronous response') as unknown,
    });
    expect(await caught(client.responses.cancel('resp_none'))).toMatchObject({ status: 404 });
  });

  it('stop if they are deleted', async () => {
    await connect();
    const { id } = await create();
    const request = await worker.nextRequest();
    await client.responses.delete(id);
    await until(() => worker.cancelled.includes(request.id));
    expect(await caught(client.responses.retrieve(id))).toMatchObject({ status: 404 });
  });

  it('count toward the storage of their project until they are deleted', async () => {
    await connect();
    const used = async (): Promise<number> =>
      (await api.get<LimitsObject>('/limits')).data.find(({ name }) => name === 'storage_bytes')!
        .used!;
    const before = await used();
    const { id } = await create({ input: 'x'.repeat(10_000) });
    await until(async () => (await used()) > before);
    worker.sendText((await worker.nextRequest()).id, 'done');
    await become(id, 'completed');
    const [row] = await api.query<{ bytes: number }>(
      'SELECT bytes::int FROM response WHERE request IS NULL AND owner IS NULL',
    );
    expect(await used()).toBe(before + row!.bytes);
    await client.responses.delete(id);
    expect(await used()).toBe(before);
  });

  it('wait for a worker and for the limits of their project', async () => {
    await api.query(`UPDATE project SET limits = '{"chats": 0}'`);
    const { id } = await create();
    const tried = async (): Promise<boolean> =>
      (await api.query('SELECT 1 FROM response WHERE resume_at IS NOT NULL')).length === 1;
    await until(tried);
    await connect();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(worker.requests).toEqual([]);
    expect(await become(id, 'queued')).toMatchObject({ output: [], error: null });
    await api.query(`UPDATE project SET limits = '{}'`);
    worker.sendText((await worker.nextRequest(PATIENCE_MS)).id, 'at last');
    expect((await become(id, 'completed')).output_text).toBe('at last');
  });

  it('are generated again if their worker is lost, but not for ever', async () => {
    const { id } = await create();
    for (let loss = 1; loss <= 3; loss++) {
      await connect();
      worker.sendText((await worker.nextRequest(PATIENCE_MS)).id, 'Hi', '');
      await become(id, 'in_progress');
      await new Promise((resolve) => setTimeout(resolve, 300));
      worker.vanish();
      await become(id, loss < 3 ? 'queued' : 'failed');
    }
    expect(await client.responses.retrieve(id)).toMatchObject({
      output: [{ status: 'incomplete' }],
    });
  });

  it('are streamed, and continue if the client leaves', async () => {
    await connect();
    const stream = await client.responses.create({ ...ask, stream: true });
    const request = await worker.nextRequest();
    worker.sendText(request.id, 'Hi', '');
    worker.sendText(request.id, ' there');
    const events: OpenAI.Responses.ResponseStreamEvent[] = [];
    for await (const event of stream) events.push(event);
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i));
    const types = events.map(({ type }) => type.replace('response.', ''));
    expect(types.slice(0, 3)).toEqual(['created', 'queued', 'in_progress']);
    expect(events[0]).toMatchObject({ response: { status: 'queued' } });
    expect(events.at(-1)).toMatchObject({
      type: 'response.completed',
      response: { background: true, status: 'completed' },
    });

    const left = await client.responses.create({ ...ask, stream: true });
    const second = await worker.nextRequest();
    worker.sendText(second.id, 'Hi', '');
    left.controller.abort();
    const [row] = await api.query<{ id: string }>(
      'SELECT id FROM response WHERE request IS NOT NULL',
    );
    worker.sendText(second.id, ' you');
    expect((await become(row!.id, 'completed')).output_text).toBe('Hi you');
    expect(worker.cancelled).toEqual([]);
  });

  it('discard the answer of a process that lost its claim', async () => {
    await connect();
    const { id } = await create();
    const first = await worker.nextRequest();
    const setOwner = (owner: string | null, until: string) =>
      api.query(`UPDATE response SET owner = $2, owner_until = ${until} WHERE id = $1`, [
        id,
        owner,
      ]);
    await setOwner('another', `clock_timestamp() + interval '1 hour'`);
    worker.sendText(first.id, 'one');
    // Long enough for a process that wrongly stored the answer.
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await client.responses.retrieve(id)).toMatchObject({ status: 'in_progress' });
    await setOwner('another', `clock_timestamp() - interval '1 second'`);
    worker.sendText((await worker.nextRequest(PATIENCE_MS)).id, 'two');
    expect((await become(id, 'completed')).output_text).toBe('two');
  });

  it('are generated by another process if theirs is killed', async () => {
    await connect();
    const child = spawn(process.execPath, [MAIN, JSON.stringify(api.config)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let id = '';
    try {
      let out = '';
      child.stdout.on('data', (text: Buffer) => (out += text.toString()));
      await until(() => out.includes('\n'), 60_000);
      const { url } = JSON.parse(out.slice(out.indexOf('{'))) as { url: string };
      const other = new OpenAI({ baseURL: `${url}/v1`, apiKey: api.apiKey, maxRetries: 0 });
      // A streamed response is generated by the process that received the request.
      const stream = await other.responses.create({ ...ask, stream: true });
      const first = await worker.nextRequest(PATIENCE_MS);
      for await (const event of stream)
        if (event.type === 'response.created') {
          ({ id } = event.response);
          break;
        }
      worker.sendText(first.id, 'lost', '');
      child.kill('SIGKILL');
      await once(child, 'exit');
      const second = await worker.nextRequest(PATIENCE_MS);
      expect(second.messages).toEqual(first.messages);
      worker.sendText(first.id, ' for ever');
      worker.sendText(second.id, 'Hi there');
      expect((await become(id, 'completed')).output_text).toBe('Hi there');
      expect(worker.requests).toHaveLength(2);
    } finally {
      child.kill('SIGKILL');
    }
  }, 150_000);
});
