// Batches through the official SDK, with a worker that the tests control.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import OpenAI, { toFile } from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker, type WorkerRequest } from './scripted-worker.js';

type Batch = OpenAI.Batches.Batch;
type Line = Record<string, unknown>;

const MAIN = fileURLToPath(new URL('process.mjs', import.meta.url));
const PATIENCE_MS = 40_000;
const CHATS = '/v1/chat/completions';

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
  await api.query('DELETE FROM batch');
  await api.query('DELETE FROM batch_result');
  await api.query(`UPDATE project SET limits = '{}'`);
  await until(
    async () => (await api.query(`SELECT 1 FROM worker WHERE state <> 'offline'`)).length === 0,
  );
});
afterAll(() => api?.close());

const connect = async (maxChats = 8): Promise<ScriptedWorker> =>
  (worker = await new ScriptedWorker(api, { maxChats }).connect());

const chat = (content: string, more: object = {}): Line => ({
  custom_id: content,
  method: 'POST',
  url: CHATS,
  body: { model: 'tiny', messages: [{ role: 'user', content }], ...more },
});
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `line-${i}`);

const upload = async (lines: readonly (Line | string)[]): Promise<string> => {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
  const file = await toFile(Buffer.from(text.join('\n')), 'requests.jsonl');
  return (await client.files.create({ file, purpose: 'batch' })).id;
};
const create = async (
  lines: readonly (Line | string)[],
  more: object = {},
  by = client,
): Promise<Batch> =>
  by.batches.create({
    input_file_id: await upload(lines),
    endpoint: CHATS,
    completion_window: '24h',
    ...more,
  });
const become = async (id: string, status: Batch['status']): Promise<Batch> => {
  let batch = await client.batches.retrieve(id);
  await until(async () => {
    batch = await client.batches.retrieve(id);
    return batch.status === status;
  }, PATIENCE_MS);
  return batch;
};
const contents = ({ messages }: WorkerRequest): string => messages.at(-1)!.content;

/** Answers this many requests, each with its question. */
const answer = async (count: number): Promise<string[]> => {
  const seen: string[] = [];
  for (let i = 0; i < count; i++) {
    const request = await worker.nextRequest(PATIENCE_MS);
    seen.push(contents(request));
    worker.sendText(request.id, `re: ${contents(request)}`);
  }
  return seen;
};

/** Answers all requests, the first ones excepted, until the batch is completed. */
const serve = async (
  id: string,
  reply = (one: WorkerRequest) => worker.sendText(one.id, `re: ${contents(one)}`),
  except = 0,
): Promise<Batch> => {
  let served = except;
  await until(async () => {
    for (; served < worker.requests.length; served++) reply(worker.requests[served]!);
    return (await client.batches.retrieve(id)).status === 'completed';
  }, 60_000);
  return client.batches.retrieve(id);
};

interface Result {
  readonly custom_id: string;
  readonly response: {
    readonly status_code: number;
    readonly body: OpenAI.ChatCompletion & { readonly error?: { readonly param: string } };
  } | null;
  readonly error: { readonly code: string } | null;
}
const results = async (file: string | null | undefined): Promise<Result[]> => {
  const text = await (await client.files.content(file!)).text();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Result);
};

describe('batches', () => {
  it('answer every line of their file', async () => {
    await connect();
    const count = 30;
    const created = await create(
      names(count).map((name) => chat(name)),
      {
        metadata: { team: 'ads' },
        output_expires_after: { anchor: 'created_at', seconds: 3600 },
      },
    );
    expect(created).toMatchObject({
      object: 'batch',
      endpoint: CHATS,
      completion_window: '24h',
      metadata: { team: 'ads' },
      errors: null,
    });
    expect(created.expires_at! - created.created_at).toBe(86_400);
    await answer(count);
    const done = await become(created.id, 'completed');
    expect(done).toMatchObject({
      model: 'tiny',
      error_file_id: null,
      request_counts: { total: count, completed: count, failed: 0 },
      usage: { input_tokens: 9 * count },
    });
    const { in_progress_at, finalizing_at, completed_at } = done;
    const times = [created.created_at, in_progress_at, finalizing_at, completed_at] as number[];
    expect(times.toSorted((a, b) => a - b)).toEqual(times);
    const output = await client.files.retrieve(done.output_file_id!);
    expect(output).toMatchObject({ purpose: 'batch_output', filename: `${done.id}_output.jsonl` });
    const lifetime = output.expires_at! - output.created_at;
    expect(Math.abs(lifetime - 3600)).toBeLessThan(10);
    const lines = await results(done.output_file_id);
    expect(lines.map(({ custom_id }) => custom_id)).toEqual(names(count));
    for (const { custom_id, response, error } of lines) {
      expect(error).toBeNull();
      expect(response!.status_code).toBe(200);
      expect(response!.body.choices[0]!.message.content).toBe(`re: ${custom_id}`);
    }
    expect(await api.query('SELECT 1 FROM batch_result')).toEqual([]);
    expect((await client.batches.list({ limit: 1 })).data).toMatchObject([{ id: created.id }]);
  });

  it('write failed requests into their error file', async () => {
    await connect();
    const { id } = await create([
      chat('good'),
      chat('hot', { temperature: 9 }),
      chat('long', { max_tokens: 1e6 }),
    ]);
    await answer(1);
    const done = await become(id, 'completed');
    expect(done.request_counts).toEqual({ total: 3, completed: 1, failed: 2 });
    expect((await results(done.output_file_id)).map(({ custom_id }) => custom_id)).toEqual([
      'good',
    ]);
    const errors = await results(done.error_file_id);
    expect(errors.map(({ response }) => response!.body.error!.param)).toEqual([
      'temperature',
      'max_tokens',
    ]);
    expect(errors.map(({ response }) => response!.status_code)).toEqual([400, 400]);
  });

  it('fail with the wrong lines of their file', async () => {
    const { id } = await create([
      chat('a'),
      'no json',
      '',
      chat('a'),
      { ...chat('b'), url: '/v1/embeddings' },
      { ...chat('c'), method: 'GET' },
      chat('d', { stream: true }),
      chat('e', { model: 'none' }),
    ]);
    const failed = await become(id, 'failed');
    expect(failed.errors!.data!.map(({ line, param }) => [line, param])).toEqual([
      [2, null],
      [4, 'custom_id'],
      [5, 'url'],
      [6, 'method'],
      [7, 'body.stream'],
      [8, 'body.model'],
    ]);
    const blank = await become((await create(['', ' '])).id, 'failed');
    expect(blank.errors!.data!.map(({ message }) => message)).toEqual(['the file has no requests']);
  });

  it('are rejected if the request is wrong', async () => {
    const training = await client.files.create({
      file: await toFile(Buffer.from('{"prompt":"a","completion":"b"}'), 'a.jsonl'),
      purpose: 'fine-tune',
    });
    const wrong = async (more: object): Promise<string | null | undefined> =>
      (await caught(create([chat('a')], more))).param;
    expect(await wrong({ input_file_id: training.id })).toBe('input_file_id');
    expect(await wrong({ input_file_id: 'file-none' })).toBe('input_file_id');
    expect(await wrong({ endpoint: '/v1/moderations' })).toBe('endpoint');
    expect(await wrong({ completion_window: '24 hours' })).toBe('completion_window');
    expect(await wrong({ completion_window: '31d' })).toBe('completion_window');
    expect(await caught(client.batches.retrieve('batch_none'))).toMatchObject({ status: 404 });
  });

  it('leave half of a worker to other requests', async () => {
    await connect(4);
    await create(names(8).map((name) => chat(name)));
    const first = await worker.nextRequest(PATIENCE_MS);
    worker.sendText(first.id, 'one');
    await until(() => worker.requests.length === 3);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(worker.requests).toHaveLength(3);
    const [, second, third] = worker.requests as [WorkerRequest, WorkerRequest, WorkerRequest];
    const own = client.chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'me first' }],
    });
    await until(() => worker.requests.length === 4);
    expect(contents(worker.requests[3]!)).toBe('me first');
    worker.sendText(worker.requests[3]!.id, 'yes');
    expect((await own).choices[0]!.message.content).toBe('yes');
    for (const { id } of [second, third]) worker.sendText(id, 'two');
  });

  it('keep answers when they are cancelled', async () => {
    await connect();
    const { id, input_file_id: file } = await create(names(3).map((name) => chat(name)));
    await answer(1);
    await until(async () => (await client.batches.retrieve(id)).request_counts!.completed === 1);
    const next = await worker.nextRequest(PATIENCE_MS);
    expect(await caught(client.files.delete(file))).toMatchObject({ status: 409 });
    expect(await client.batches.cancel(id)).toMatchObject({ id, status: 'cancelling' });
    await until(() => worker.cancelled.includes(next.id));
    const cancelled = await become(id, 'cancelled');
    expect(cancelled.request_counts).toEqual({ total: 3, completed: 1, failed: 0 });
    expect((await results(cancelled.output_file_id)).map((one) => one.custom_id)).toEqual([
      'line-0',
    ]);
    expect((await results(cancelled.error_file_id)).map(({ error }) => error!.code)).toEqual([
      'batch_cancelled',
      'batch_cancelled',
    ]);
    expect(await client.batches.cancel(id)).toMatchObject({ status: 'cancelled' });
    await client.files.delete(file);
  });

  it('expire after their window', async () => {
    const { id } = await create(names(3).map((name) => chat(name)));
    await connect();
    await answer(1);
    await until(async () => (await client.batches.retrieve(id)).request_counts!.completed === 1);
    worker.vanish();
    await api.query('UPDATE batch SET expires_at = clock_timestamp()');
    const expired = await become(id, 'expired');
    expect(expired.request_counts).toEqual({ total: 3, completed: 1, failed: 0 });
    expect((await results(expired.error_file_id)).map(({ error }) => error!.code)).toEqual([
      'batch_expired',
      'batch_expired',
    ]);
  });

  it('wait for a worker and for the limits of their project, and report it', async () => {
    const { id } = await create([chat('a')]);
    const waitsFor = async (): Promise<string> => {
      const { graft } = (await client.batches.retrieve(id)) as { graft?: { waits_for: string } };
      return graft?.waits_for ?? '';
    };
    await until(async () => (await waitsFor()).includes('no connected worker'));
    await api.query(`UPDATE project SET limits = '{"chats": 0}'`);
    await connect();
    await until(async () => (await waitsFor()).includes('limit of 0 chats'), PATIENCE_MS);
    await api.query(`UPDATE project SET limits = '{}'`);
    await answer(1);
    await become(id, 'completed');
  });

  it('find the line that crashes its trainer, and answer the others', async () => {
    await connect();
    const { id } = await create(names(6).map((name) => chat(name)));
    const done = await serve(id, (one) =>
      contents(one) === 'line-3'
        ? worker.sendText(one.id, '', 'error', 'crash')
        : worker.sendText(one.id, 'fine'),
    );
    expect(done.request_counts).toEqual({ total: 6, completed: 5, failed: 1 });
    expect(worker.requests.filter((one) => contents(one) === 'line-3')).toHaveLength(4);
  });

  it('are continued by another process if theirs is killed, with one answer per line', async () => {
    await connect();
    const child = spawn(process.execPath, [MAIN, JSON.stringify(api.config)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      let out = '';
      child.stdout.on('data', (text: Buffer) => (out += text.toString()));
      await until(() => out.includes('\n'), 60_000);
      const { url } = JSON.parse(out.slice(out.indexOf('{'))) as { url: string };
      const other = new OpenAI({ baseURL: `${url}/v1`, apiKey: api.apiKey, maxRetries: 0 });
      // The process that creates a batch is the first to look for new ones.
      const { id } = await create(
        names(40).map((name) => chat(name)),
        {},
        other,
      );
      await answer(20);
      const [before] = await api.query<{ owner: string }>('SELECT owner FROM batch');
      child.kill('SIGKILL');
      await once(child, 'exit');
      const serving = serve(id, undefined, 20);
      await until(async () => {
        const [now] = await api.query<{ owner: string | null }>('SELECT owner FROM batch');
        return now!.owner !== before!.owner;
      }, PATIENCE_MS);
      const done = await serving;
      expect(done.request_counts).toEqual({ total: 40, completed: 40, failed: 0 });
      const lines = await results(done.output_file_id);
      expect(lines.map(({ custom_id }) => custom_id)).toEqual(names(40));
    } finally {
      child.kill('SIGKILL');
    }
  }, 150_000);
});
