import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { credentials } from '@grpc/grpc-js';
import { WorkerServiceClient } from '@graft/contracts/grpc';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { writeTinySpeechBase } from '../../../test/tiny-audio.js';
import { bearer, ScriptedWorker } from './scripted-worker.js';

// Two API processes of one installation: the worker is connected to A, the client to B.

describe('a chat through another API process', () => {
  let a: TestApi;
  let b: TestApi;
  const workers: ScriptedWorker[] = [];
  beforeAll(async () => {
    a = await startTestApi({ chatWaitMs: 8_000 });
    b = await startTestApi({ beside: a, chatWaitMs: 8_000 });
    await importBase(a);
  });
  afterAll(async () => {
    await b?.close();
    await a?.close();
  });
  afterEach(async () => {
    for (const worker of workers.splice(0)) worker.vanish();
    await until(async () => (await a.query('SELECT 1 FROM answer')).length === 0);
    await until(
      async () => (await a.query(`SELECT 1 FROM worker WHERE state <> 'offline'`)).length === 0,
    );
  });

  const ask = { model: 'tiny', messages: [{ role: 'user' as const, content: 'hello?' }] };
  const join = async (
    options: ConstructorParameters<typeof ScriptedWorker>[1] = {},
    api = a,
  ): Promise<ScriptedWorker> => {
    const worker = await new ScriptedWorker(api, options).connect();
    workers.push(worker);
    return worker;
  };

  it('is answered whole and streamed', async () => {
    const worker = await join();
    const whole = b.client.chat.completions.create(ask);
    const { id } = await worker.nextRequest();
    worker.sendText(id, 'Hi', '');
    worker.sendText(id, ' there');
    expect((await whole).choices[0]?.message.content).toBe('Hi there');

    const opened = b.client.chat.completions.create({ ...ask, stream: true });
    const second = await worker.nextRequest();
    worker.sendText(second.id, 'a', '');
    const parts = (await opened)[Symbol.asyncIterator]();
    const read = async (): Promise<string | undefined> =>
      ((await parts.next()).value as { choices: { delta: { content?: string } }[] } | undefined)
        ?.choices[0]?.delta.content;
    expect([await read(), await read()]).toEqual(['', 'a']);
    // Chunk by chunk, not only at the end.
    worker.sendText(second.id, 'b', '');
    expect(await read()).toBe('b');
    worker.sendText(second.id, '');
    while (!(await parts.next()).done);
  });

  it('transfers the audio of a transcription', async () => {
    const dir = mkdtempSync(`${tmpdir()}/graft-replicas-`);
    await importBase(a, 'whisper', writeTinySpeechBase(dir));
    rmSync(dir, { recursive: true });
    const worker = await join();
    const large = new Uint8Array(Buffer.alloc(12 << 20, 'all of it'));
    const asked = b.client.audio.transcriptions.create({
      model: 'whisper',
      file: new File([large], 'large.wav'),
    });
    const question = await worker.nextRequest();
    expect((await worker.mediaOf(question)).equals(large)).toBe(true);
    const usage = { prompt_tokens: 9, completion_tokens: 1 };
    worker.reply(question.id, { text: 'heard', segments: [], ...usage });
    expect(await asked).toMatchObject({ text: 'heard' });
  });

  it('returns the error of the worker', async () => {
    const worker = await join();
    const failing = caught(b.client.chat.completions.create(ask));
    worker.sendText((await worker.nextRequest()).id, '', 'error', 'no_memory');
    expect(await failing).toMatchObject({
      status: 503,
      code: 'no_memory',
      message: expect.stringContaining('refused by a test'),
    });
  });

  it('is cancelled at the worker if its client leaves', async () => {
    const worker = await join();
    for (const stream of [false, true]) {
      const leaving = new AbortController();
      const left = b.client.chat.completions
        .create({ ...ask, stream }, { signal: leaving.signal })
        .catch(() => 'left');
      const { id } = await worker.nextRequest();
      if (stream) {
        worker.sendText(id, 'a', '');
        await left;
      }
      leaving.abort();
      await until(() => worker.cancelled.includes(id));
    }
  });

  it('ends with an error if its worker is killed', async () => {
    const worker = await join();
    const early = caught(b.client.chat.completions.create(ask));
    await worker.nextRequest();
    const response = posted(b, { ...ask, stream: true });
    worker.sendText((await worker.nextRequest()).id, 'a', '');
    const text = textOf(await response);
    await until(() => text.value.includes('"content":"a"'));
    worker.vanish();
    expect(await early).toMatchObject({ status: 503, code: 'unavailable' });
    await until(() => text.ended);
    expect(text.value).toContain('the connection to the worker was lost');
    expect(text.value).not.toContain('[DONE]');
  });

  it('waits in the queue if all workers are full, and gets a slot that another process frees', async () => {
    const worker = await join({ maxChats: 1 });
    const first = a.client.chat.completions.create(ask);
    const { id } = await worker.nextRequest();
    const second = b.client.chat.completions.create(ask);
    await until(
      async () => (await a.query('SELECT 1 FROM answer WHERE worker_id IS NULL')).length === 1,
    );
    expect(worker.requests).toHaveLength(1);
    worker.sendText(id, 'one');
    await first;
    worker.sendText((await worker.nextRequest()).id, 'two');
    expect((await second).choices[0]?.message.content).toBe('two');
  });

  it('counts against the limit of its project', async () => {
    const worker = await join();
    await a.query(`UPDATE project SET limits = '{"chats": 1}'`);
    const first = a.client.chat.completions.create(ask);
    const { id } = await worker.nextRequest();
    expect(await caught(b.client.chat.completions.create(ask))).toMatchObject({
      status: 429,
      code: 'insufficient_quota',
    });
    await a.query(`UPDATE project SET limits = '{}'`);
    worker.sendText(id, 'done');
    await first;
  });

  it('allows its worker to fetch its blobs, through any process and only while it runs', async () => {
    const [adapter] = await putAdapter();
    const worker = await join();
    const others = await join({ name: 'another' });
    worker.pull(1, ['tiny']);
    await worker.heartbeat([]);
    const answer = b.client.chat.completions.create({ ...ask, model: 'ft:tiny' });
    const question = await worker.nextRequest();
    expect(question.adapter[0]?.sha256).toBe(adapter);
    for (const api of [a, b]) {
      expect(await fetched(api, worker, adapter)).toBe('adapter');
      await expect(fetched(api, others, adapter)).rejects.toThrow('no such blob');
    }
    worker.sendText(question.id, 'done');
    await answer;
    await expect(fetched(b, worker, adapter)).rejects.toThrow('no such blob');
    // The same for an expired answer whose row still exists: its process is gone.
    await a.query(
      `INSERT INTO answer (id, project_id, base_id, worker_id, gateway_id, blobs, until)
       SELECT 'left', id, 'tiny', $1, 'gone', $2, clock_timestamp() - interval '1 second' FROM project`,
      [worker.welcome?.workerId, JSON.stringify([adapter])],
    );
    await expect(fetched(b, worker, adapter)).rejects.toThrow('no such blob');
  });

  it('applies backpressure from a slow client', async () => {
    const worker = await join();
    const response = posted(b, { ...ask, stream: true });
    const { id } = await worker.nextRequest();
    const piece = 'x'.repeat(1_000);
    for (let n = 0; n < 900; n++) worker.sendText(id, `<${n}>${piece}`, '');
    const opened = await response;
    // Nothing is read for a while; the rest must still arrive in order.
    await new Promise((resolve) => setTimeout(resolve, 500));
    worker.sendText(id, '');
    const text = textOf(opened);
    await until(() => text.ended);
    const numbers = [...text.value.matchAll(/<(\d+)>/g)].map(([, n]) => Number(n));
    expect(numbers).toEqual(Array.from({ length: 900 }, (_, n) => n));
    expect(text.value).toContain('[DONE]');
  });

  it('ends with an error if the other process stops', async () => {
    const stopping = await startTestApi({ beside: a });
    const worker = await join({}, stopping);
    const failing = caught(b.client.chat.completions.create(ask));
    await worker.nextRequest();
    await stopping.close();
    expect(await failing).toMatchObject({ status: 503, code: 'unavailable' });
    // Workers of a stopped process receive no requests.
    expect(await caught(b.client.chat.completions.create(ask))).toMatchObject({
      code: 'no_worker',
    });
  });

  /** Creates a fine-tuned model with one stored file; returns its hash. */
  async function putAdapter(): Promise<[string]> {
    const worker = await join();
    const { id: file } = await a.client.files.create({
      file: new File(['{"prompt": "a", "completion": "b"}\n'.repeat(10)], 'a.jsonl'),
      purpose: 'fine-tune',
    });
    await a.post('/fine_tuning/jobs', { model: 'tiny', training_file: file });
    const lease = await worker.nextAssignment();
    const { sha256, name, size } = await worker.put(lease, 'adapter_model.safetensors', 'adapter');
    await a.query(
      `INSERT INTO model (id, project_id, kind, base_id, family, status, base_dtype, files)
       SELECT 'ft:tiny', id, 'adapter', 'tiny', 'llama', 'ready', 'bf16', $1 FROM project`,
      [JSON.stringify([{ name, sha256, size }])],
    );
    await a.post(`/fine_tuning/jobs/${lease.jobId}/cancel`);
    worker.vanish();
    return [sha256];
  }

  async function fetched(api: TestApi, worker: ScriptedWorker, sha256: string): Promise<string> {
    const client = new WorkerServiceClient(api.grpcUrl, credentials.createInsecure());
    try {
      const parts: Buffer[] = [];
      for await (const { data } of client.fetchBlob({ sha256, offset: 0 }, bearer(worker.session)))
        parts.push(Buffer.from(data as Uint8Array));
      return Buffer.concat(parts).toString();
    } finally {
      client.close();
    }
  }
});

/** Returns the response to a chat before its body is read. */
function posted(api: TestApi, body: object): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { ...api.headers, 'content-type': 'application/json' };
    httpRequest(
      `${api.url}/v1/chat/completions`,
      { method: 'POST', headers, agent: false },
      resolve,
    )
      .on('error', reject)
      .end(JSON.stringify(body));
  });
}

function textOf(response: IncomingMessage): { value: string; ended: boolean } {
  const text = { value: '', ended: false };
  response.setEncoding('utf8').on('data', (piece: string) => (text.value += piece));
  response.on('close', () => (text.ended = true));
  return text;
}
