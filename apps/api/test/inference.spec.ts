// Embeddings and classification through the official SDK, with a worker whose answers the test scripts;
// test/e2e uses a real one.
import type OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step, type WorkerRequest } from './scripted-worker.js';

let api: TestApi;
let other: TestApi;
let client: OpenAI;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  api = await startTestApi();
  other = await startTestApi({ beside: api });
  client = api.client;
  await importBase(api);
});
afterAll(async () => {
  await other?.close();
  await api?.close();
});
afterEach(async () => {
  for (const worker of workers.splice(0)) worker.vanish();
  await until(async () => (await api.query('SELECT 1 FROM answer')).length === 0);
  await until(
    async () => (await api.query(`SELECT 1 FROM worker WHERE state <> 'offline'`)).length === 0,
  );
});

async function join(
  options: ConstructorParameters<typeof ScriptedWorker>[1] = {},
): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(api, options).connect();
  workers.push(worker);
  return worker;
}

/** Values that f32 represents exactly. */
const VECTORS = [
  [0.5, -0.25, 0.75],
  [1, 0, -2],
  [0.125, 8, 0],
];
const packed = (vector: readonly number[]): string =>
  Buffer.from(Float32Array.from(vector).buffer).toString('base64');

function infer(
  worker: ScriptedWorker,
  { id }: WorkerRequest,
  answers: readonly unknown[],
  isLast = true,
): void {
  worker.reply(id, { answers, prompt_tokens: 7 }, { last: isLast });
}

/** Trains a model for a task; returns its id. */
async function trained(task: string, ...lines: object[]): Promise<string> {
  const worker = await join();
  const file = await client.files.create({
    file: new File(
      [lines.map((line) => `${JSON.stringify(line)}\n`.repeat(12)).join('')],
      'data.jsonl',
    ),
    purpose: 'fine-tune',
  });
  const job = await client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file.id,
    graft: {
      task,
      ...(task === 'feature_extraction' ? { task_options: { pooling_mode: 'lasttoken' } } : {}),
    },
  } as never);
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 1), step(1));
  await worker.finish(lease, 1);
  const { fine_tuned_model: model } = await client.fineTuning.jobs.retrieve(job.id);
  worker.vanish();
  return model ?? '';
}

describe('embeddings', () => {
  it('are vectors for texts and token ids, as numbers and in base64', async () => {
    const worker = await join();
    for (const [input, inputs] of [
      ['abc', [{ text: 'abc' }]],
      [
        ['a', 'b', 'c'],
        [{ text: 'a' }, { text: 'b' }, { text: 'c' }],
      ],
      [[3, 4], [{ tokens: [3, 4] }]],
      [
        [[3], [4, 5]],
        [{ tokens: [3] }, { tokens: [4, 5] }],
      ],
    ] as const) {
      for (const encoding_format of ['float', 'base64', undefined] as const) {
        const asked = client.embeddings.create({
          model: 'tiny',
          input: input as unknown as string[],
          ...(encoding_format && { encoding_format }),
        });
        const question = await worker.nextRequest();
        expect(question).toMatchObject({ base: { id: 'tiny' }, adapter: [], baseDtype: '' });
        const { task, options } = question;
        expect([task, question.inputs]).toEqual(['feature_extraction', inputs]);
        expect(options).toMatchObject({ pooling_mode: 'mean' });
        const vectors = VECTORS.slice(0, inputs.length);
        infer(worker, question, vectors.map(packed));
        expect(await asked).toEqual({
          object: 'list',
          data: vectors.map((vector, index) => ({
            object: 'embedding',
            index,
            embedding: encoding_format === 'base64' ? packed(vector) : vector,
          })),
          model: 'tiny',
          usage: { prompt_tokens: 7, total_tokens: 7 },
        });
      }
    }
  });

  it('are written one by one, so that a large response does not block other requests', async () => {
    const worker = await join();
    const vector = Array.from({ length: 4096 }, (_, i) => Math.fround(Math.sin(i)));
    const inputs = Array.from({ length: 256 }, (_, i) => `text ${i}`);
    const asked = fetch(`${api.url}/v1/embeddings`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', input: inputs }),
    });
    const question = await worker.nextRequest();
    for (let at = 0; at < 256; at += 64)
      infer(worker, question, Array<string>(64).fill(packed(vector)), at === 192);
    const response = await asked;
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(response.headers.get('content-length')).toBeNull();
    const { data, model, usage } = (await response.json()) as OpenAI.CreateEmbeddingResponse;
    expect([data.length, model, usage]).toEqual([
      256,
      'tiny',
      { prompt_tokens: 7, total_tokens: 7 },
    ]);
    expect(data.map(({ index }) => index)).toEqual([...inputs.keys()]);
    expect(data.every(({ embedding }) => embedding.every((x, i) => x === vector[i]))).toBe(true);
  });

  it('arrive in several messages, also through another API process, in the order of their inputs', async () => {
    const worker = await join();
    for (const through of [api, other]) {
      const input = Array.from({ length: 1000 }, (_, i) => `text ${i}`);
      const asked = through.client.embeddings.create({ model: 'tiny', input });
      const question = await worker.nextRequest();
      for (let i = 0; i < 1000; i += 100) {
        const answers = Array.from({ length: 100 }, (_, j) =>
          packed([i + j, ...Array(300).fill(0)]),
        );
        infer(worker, question, answers, i === 900);
      }
      const { data } = await asked;
      expect(data.map(({ embedding }) => embedding[0])).toEqual(input.map((_, i) => i));
    }
  });

  it('of an adapter use the options of its job, and it cannot generate text', async () => {
    const line = { anchor: 'how are you', positive: 'fine' };
    const model = await trained('feature_extraction', line);
    expect((await api.get<{ graft: object }>(`/models/${model}`)).graft).toMatchObject({
      task: 'feature_extraction',
      uses: ['embed'],
    });
    const worker = await join();
    const asked = client.embeddings.create({ model, input: 'abc' });
    const question = await worker.nextRequest();
    expect(question.adapter.map(({ name }) => name)).toContain('adapter_model.safetensors');
    expect(question.baseDtype).toBe('bf16');
    expect(question.options).toEqual({
      scale: 20,
      similarity_fct: 'cos_sim',
      pooling_mode: 'lasttoken',
    });
    infer(worker, question, [packed(VECTORS[0]!)]);
    expect((await asked).data[0]?.embedding).toEqual(VECTORS[0]);
    const refused = await caught(
      client.chat.completions.create({ model, messages: [{ role: 'user', content: 'hello' }] }),
    );
    expect(refused).toMatchObject({ status: 400, code: 'unsupported', param: 'model' });
    expect(refused.message).toMatch(
      /feature_extraction and returns vectors, not text; use POST \/v1\/embeddings/,
    );
    expect((await caught(client.completions.create({ model, prompt: 'a' }))).message).toMatch(
      /use POST \/v1\/embeddings/,
    );
  });

  it('are rejected for a text generation model with the right route; its base supports both', async () => {
    const model = await trained('causal_lm', { text: 'abc' });
    const { graft } = await api.get<{ graft: object }>('/models/tiny');
    expect(graft).toMatchObject({ task: null, uses: ['chat', 'embed'] });
    const { data } = await api.get<{ data: { id: string; graft: object }[] }>('/models');
    expect(data.find(({ id }) => id === model)?.graft).toMatchObject({
      task: 'causal_lm',
      uses: ['chat'],
    });
    const refused = await caught(client.embeddings.create({ model, input: 'abc' }));
    expect(refused).toMatchObject({ status: 400, code: 'unsupported', param: 'model' });
    expect(refused.message).toMatch(
      /causal_lm and returns text, not vectors; use POST \/v1\/chat\/completions, or train a model for feature_extraction/,
    );
  });

  it.each([
    [{ input: '' }, 'input', 'invalid_value'],
    [{ input: [] }, 'input', 'invalid_value'],
    [{ input: ['a', ''] }, 'input.1', 'invalid_value'],
    [{ input: ['a', 5] }, 'input.1', 'invalid_value'],
    [{ input: [[1], []] }, 'input.1', 'invalid_value'],
    [{ input: [1, -1] }, 'input.1', 'invalid_value'],
    [{ input: Array(2049).fill('a') }, 'input', 'invalid_value'],
    [{ input: 'x'.repeat(1_000_000) }, 'input', 'request_too_large'],
    [{}, 'input', 'missing_required_parameter'],
    [{ input: 'a', encoding_format: 'int8' }, 'encoding_format', 'invalid_value'],
    [{ input: 'a', dimensions: 0 }, 'dimensions', 'invalid_value'],
    [{ input: 'a', dimensions: 16 }, 'dimensions', 'unsupported'],
    [{ input: 'a', truncate: true }, 'truncate', 'unknown_parameter'],
    [{ input: 'a', model: 'none' }, 'model', 'model_not_found'],
  ])('are rejected with the param: case %#', async (body, param, code) => {
    const error = await caught(client.embeddings.create({ model: 'tiny', ...body } as never));
    expect(error).toMatchObject({ param, code });
  });

  it("accept dimensions equal to the model's size", async () => {
    const worker = await join();
    const asked = client.embeddings.create({ model: 'tiny', input: 'a', dimensions: 32 });
    infer(worker, await worker.nextRequest(), [packed(VECTORS[0]!)]);
    expect((await asked).data).toHaveLength(1);
  });

  it("return the worker's error, and reject a malformed answer", async () => {
    const worker = await join();
    const failing = caught(client.embeddings.create({ model: 'tiny', input: 'a' }));
    worker.sendText((await worker.nextRequest()).id, '', 'error', 'invalid_value');
    expect(await failing).toMatchObject({ status: 400, param: 'input', code: 'invalid_value' });
    for (const answers of [[], [packed([1]), packed([2])], [5], ['AAAA']]) {
      const wrong = caught(client.embeddings.create({ model: 'tiny', input: 'a' }));
      infer(worker, await worker.nextRequest(), answers);
      expect(await wrong).toMatchObject({ status: 500, code: 'internal_error' });
    }
  });

  it("are cancelled at the worker if their client leaves, and count against the project's limits", async () => {
    const worker = await join();
    const leaving = new AbortController();
    const left = client.embeddings
      .create({ model: 'tiny', input: 'a' }, { signal: leaving.signal })
      .catch(() => 'left');
    const { id } = await worker.nextRequest();
    leaving.abort();
    expect(await left).toBe('left');
    await until(() => worker.cancelled.includes(id));
    const used = async () =>
      (await api.get<{ data: { name: string; used: number }[] }>('/limits')).data.find(
        ({ name }) => name === 'tokens_per_day',
      )?.used ?? 0;
    const before = await used();
    const asked = client.embeddings.create({ model: 'tiny', input: 'a' });
    infer(worker, await worker.nextRequest(), [packed(VECTORS[0]!)]);
    await asked;
    await until(async () => (await used()) === before + 7);
    await api.query(`UPDATE project SET limits = '{"chats": 0}'`);
    const refused = await caught(client.embeddings.create({ model: 'tiny', input: 'a' }));
    await api.query(`UPDATE project SET limits = '{}'`);
    expect(refused).toMatchObject({ status: 429, code: 'insufficient_quota' });
  });
});

describe('classification', () => {
  const classify = <T>(model: string, input: unknown): Promise<T> =>
    client.post('/classify', { body: { model, input } });

  it("has vLLM's fields, with probabilities in the order of the labels", async () => {
    // JavaScript objects would order these labels numerically.
    const model = await trained('seq_cls', { text: 'a', label: '9' }, { text: 'b', label: '10' });
    const { graft } = await api.get<{ graft: object }>(`/models/${model}`);
    expect(graft).toMatchObject({ task: 'seq_cls', uses: ['classify'] });
    const worker = await join();
    const asked = classify<object>(model, ['a', { text: 'b', text_pair: 'c' }]);
    const question = await worker.nextRequest();
    const { options } = question;
    expect(question.inputs).toEqual([{ text: 'a' }, { text: 'b', text_pair: 'c' }]);
    const { labels } = options as { labels: string[] };
    expect([...labels].sort()).toEqual(['10', '9']);
    const answers = [
      { label: '10', probabilities: { 9: 0.25, 10: 0.75 } },
      { label: '9', probabilities: { 9: 0.5, 10: 0.5 } },
    ];
    infer(worker, question, answers);
    const found = await asked;
    expect(found).toMatchObject({
      object: 'list',
      model,
      data: answers.map((answer, index) => ({
        index,
        ...answer,
        probs: labels.map((label) => answer.probabilities[label as unknown as 9 | 10]),
        num_classes: 2,
      })),
      usage: { prompt_tokens: 7, total_tokens: 7, completion_tokens: 0 },
    });
    const refused = await caught(client.embeddings.create({ model, input: 'a' }));
    expect(refused).toMatchObject({ status: 400, code: 'unsupported', param: 'model' });
    expect(refused.message).toContain('use POST /v1/classify');
    for (const [input, param] of [
      [5, 'input'],
      [['a', 5], 'input.1'],
      [{ text: 5 }, 'input'],
      [{ words: ['a'] }, 'input'],
      [[], 'input'],
    ] as const)
      expect(await caught(classify(model, input)), JSON.stringify(input)).toMatchObject({
        status: 400,
        param,
      });
  });

  it('runs in batches', async () => {
    const model = await trained('seq_cls', { text: 'a', label: '0' }, { text: 'b', label: '1' });
    const worker = await join();
    const line = {
      custom_id: 'a',
      method: 'POST',
      url: '/v1/classify',
      body: { model, input: 'a' },
    };
    const { id } = await client.files.create({
      file: new File([JSON.stringify(line)], 'requests.jsonl'),
      purpose: 'batch',
    });
    const batch = await client.batches.create({
      input_file_id: id,
      endpoint: '/v1/classify',
      completion_window: '24h',
    } as never);
    infer(worker, await worker.nextRequest(), [{ label: '1' }]);
    let done = batch;
    await until(
      async () => (done = await client.batches.retrieve(batch.id)).status === 'completed',
    );
    const output = await (await client.files.content(done.output_file_id!)).json();
    expect(output).toMatchObject({
      custom_id: 'a',
      response: { status_code: 200, body: { model, data: [{ label: '1' }] } },
    });
  });

  it('is rejected for a base and for models of other tasks', async () => {
    const model = await trained('causal_lm', { text: 'abc' });
    for (const one of ['tiny', model])
      expect(await caught(classify(one, 'a'))).toMatchObject({
        status: 400,
        code: 'unsupported',
        param: 'model',
        message: expect.stringContaining('not labels; use POST /v1/chat/completions'),
      });
  });
});
