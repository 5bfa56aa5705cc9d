import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
let client: OpenAI;

beforeAll(async () => {
  api = await startTestApi();
  client = api.client;
  await importBase(api);
});
afterAll(() => api?.close());

describe('answers through the official SDK', () => {
  const ask = {
    model: 'tiny',
    messages: [{ role: 'user' as const, content: 'hello?' }],
    max_tokens: 5,
  };

  it('returns 503 with retry-after if no worker is connected', async () => {
    await until(
      async () => (await api.get<{ workers_online: number }>('/overview')).workers_online === 0,
    );
    const error = await caught(client.chat.completions.create(ask));
    expect(error).toMatchObject({ status: 503, code: 'no_worker' });
    expect(error.headers?.get('retry-after')).toBe('5');
  });

  it('returns several choices of several prompts, whole and streamed', async () => {
    const worker = await new ScriptedWorker(api).connect();
    const answerAll = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++) {
        const { id, prompt, top_logprobs } = await worker.nextRequest();
        const logprob = {
          token: 'x',
          bytes: [120],
          logprob: [-3, -1, -2][n % 3],
          start: 0,
          top: [],
        };
        const logprobs = top_logprobs == null ? undefined : [logprob];
        const piece = { text: `${prompt}${n}`, finish_reason: 'stop', prompt_tokens: 4 };
        worker.reply(id, { ...piece, completion_tokens: 2, logprobs });
      }
    };
    const asked = { model: 'tiny', prompt: ['a', 'b'] };
    const [several] = await Promise.all([
      client.completions.create({ ...asked, n: 2 }),
      answerAll(4),
    ]);
    expect(several.choices.map(({ index, text }) => [index, text])).toEqual([
      [0, 'a0'],
      [1, 'a1'],
      [2, 'b2'],
      [3, 'b3'],
    ]);
    expect(several.usage).toEqual({ prompt_tokens: 8, completion_tokens: 8, total_tokens: 16 });

    const [best] = await Promise.all([
      client.completions.create({ ...asked, n: 1, best_of: 3 }),
      answerAll(6),
    ]);
    expect(best.choices).toEqual([
      { index: 0, text: 'a1', finish_reason: 'stop', logprobs: null },
      { index: 1, text: 'b4', finish_reason: 'stop', logprobs: null },
    ]);
    expect(best.usage).toEqual({ prompt_tokens: 8, completion_tokens: 12, total_tokens: 20 });

    const answered = answerAll(2);
    const stream_options = { include_usage: true };
    const stream = await client.completions.create({ ...asked, stream: true, stream_options });
    const parts: OpenAI.Completion[] = [];
    for await (const part of stream) parts.push(part);
    await answered;
    const choices = parts.flatMap((part) => part.choices);
    expect(choices.map((one) => [one.index, one.text, one.finish_reason])).toEqual([
      [0, 'a0', null],
      [0, '', 'stop'],
      [1, 'b1', null],
      [1, '', 'stop'],
    ]);
    expect(parts.at(-1)?.usage?.total_tokens).toBe(12);
    worker.vanish();
  });

  it('returns whole and streamed answers, and cancels at the worker if the client leaves', async () => {
    const worker = await new ScriptedWorker(api).connect();
    const say = async (texts: string[]): Promise<void> => {
      const have = worker.requests.length;
      await until(() => worker.requests.length > have);
      const id = worker.requests[have]?.id ?? '';
      const piece = (text: string, finish_reason: 'stop' | null = null) => ({
        text,
        finish_reason,
        prompt_tokens: 9,
        completion_tokens: texts.length,
      });
      worker.reply(id, null, { last: false, phase: 'loading tiny' });
      for (const text of texts) worker.reply(id, piece(text), { last: false });
      worker.reply(id, piece('', 'stop'));
    };
    const [whole] = await Promise.all([client.chat.completions.create(ask), say(['Hi', ' there'])]);
    expect(whole.choices[0]).toMatchObject({
      message: { role: 'assistant', content: 'Hi there' },
      finish_reason: 'stop',
    });
    expect(whole.usage).toEqual({ prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 });
    expect(worker.requests[0]).toMatchObject({ base: { id: 'tiny' }, adapter: [], max_tokens: 5 });
    expect(worker.requests[0]?.messages).toEqual(ask.messages);

    const answered = say(['a', 'b', 'c']);
    const stream = await client.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let tokens = 0;
    for await (const part of stream) {
      expect(part).toHaveProperty('usage');
      text += part.choices[0]?.delta.content ?? '';
      tokens = part.usage?.total_tokens ?? tokens;
    }
    await answered;
    expect([text, tokens]).toEqual(['abc', 12]);

    const leaving = new AbortController();
    const abandoned = client.chat.completions
      .create(ask, { signal: leaving.signal })
      .catch(() => 'left');
    await until(() => worker.requests.length === 3);
    leaving.abort();
    expect(await abandoned).toBe('left');
    await until(() => worker.cancelled.includes(worker.requests[2]?.id ?? ''));

    const failing = caught(client.completions.create({ model: 'tiny', prompt: 'x' }));
    await until(() => worker.requests.length === 4);
    expect(worker.requests[3]).toMatchObject({ prompt: 'x', max_tokens: 256 });
    worker.vanish();
    expect(await failing).toMatchObject({ status: 503, code: 'unavailable' });
  });

  it('fails an answer whose last message says that more follows', async () => {
    const worker = await new ScriptedWorker(api).connect();
    const failing = caught(client.chat.completions.create(ask, { maxRetries: 0 }));
    await until(() => worker.requests.length === 1);
    const piece = { text: 'Hi', finish_reason: null, prompt_tokens: 9, completion_tokens: 1 };
    worker.reply(worker.requests[0]?.id ?? '', piece);
    expect(await failing).toMatchObject({ status: 500, code: 'internal_error' });
    worker.vanish();
  });

  it("requests an adapter on its base's dtype and quantization, and a base without either", async () => {
    const file = JSON.stringify([
      { name: 'adapter_model.safetensors', sha256: 'a'.repeat(64), size: 1 },
    ]);
    for (const [id, dtype, quantization] of [
      ['ft:packed', 'bf16', 'nf4'],
      ['ft:dense', 'f32', null],
    ])
      await api.query(
        `INSERT INTO model (id, kind, base_id, family, status, base_dtype, quantization, files)
         VALUES ($1, 'adapter', 'tiny', 'llama', 'ready', $2, $3, $4)`,
        [id, dtype, quantization, file],
      );
    const worker = await new ScriptedWorker(api).connect();
    const asked = async (model: string) => {
      const leaving = new AbortController();
      const have = worker.requests.length;
      const answer = client.chat.completions
        .create({ ...ask, model }, { signal: leaving.signal })
        .catch(() => 'left');
      await until(() => worker.requests.length > have);
      leaving.abort();
      await answer;
      return worker.requests[have];
    };
    const packed = await asked('ft:packed');
    const dense = await asked('ft:dense');
    expect(packed).toMatchObject({ baseDtype: 'bf16', quantization: 'nf4' });
    expect(dense).toMatchObject({ baseDtype: 'f32', quantization: '' });
    const bytesOf = (question: typeof packed) => question?.base?.residentBytes ?? 0;
    expect(bytesOf(packed)).toBeGreaterThan(0);
    expect(bytesOf(packed)).toBeLessThan(bytesOf(dense) / 2);
    expect(await asked('tiny')).toMatchObject({ baseDtype: '', quantization: '' });
    worker.vanish();
  });

  it('rejects invalid bodies with the param', async () => {
    expect(await caught(client.chat.completions.create({ ...ask, temperature: 9 }))).toMatchObject({
      status: 400,
      param: 'temperature',
    });
    const json_schema = { name: 'it', schema: { oneOf: [{ type: 'null' }] } };
    const form = { response_format: { type: 'json_schema' as const, json_schema } };
    const error = await caught(client.chat.completions.create({ ...ask, ...form }));
    const param = 'response_format.json_schema.schema.oneOf';
    expect(error).toMatchObject({ status: 400, code: 'unsupported', param });
    expect(error.message).toContain('use anyOf');
    const unknown = { ...ask, foo: 1 };
    expect(await caught(client.chat.completions.create(unknown))).toMatchObject({
      status: 400,
      param: 'foo',
    });
    expect(await caught(client.chat.completions.create({ ...ask, messages: [] }))).toMatchObject({
      status: 400,
      param: 'messages',
    });
    const { max_tokens: _, ...unlimited } = ask;
    const tooLong = { ...unlimited, max_completion_tokens: 129 };
    for (const [refused, param] of [
      [await caught(client.chat.completions.create(tooLong)), 'max_completion_tokens'],
      [await caught(client.chat.completions.create({ ...ask, max_tokens: 129 })), 'max_tokens'],
      [
        await caught(client.completions.create({ model: 'tiny', prompt: 'a', max_tokens: 129 })),
        'max_tokens',
      ],
    ] as const) {
      expect(refused).toMatchObject({ status: 400, code: 'invalid_value', param });
      expect(refused.message).toContain(`${param} is 129, but tiny supports at most 128 tokens`);
    }
    expect(await caught(client.chat.completions.create({ ...ask, model: 'none' }))).toMatchObject({
      status: 404,
      param: 'model',
    });
  });
});
