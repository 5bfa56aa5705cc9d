// Evals through the official SDK, with a worker whose answers the test scripts; test/e2e uses a real one.
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { clientOf, makeProject } from './projects.js';
import { ScriptedWorker, type WorkerRequest } from './scripted-worker.js';

type Evals = OpenAI['evals'];
type Create = OpenAI.Evals.EvalCreateParams;
type Source = OpenAI.Evals.RunCreateParams['data_source'];

let api: TestApi;
let evals: Evals;
const workers: ScriptedWorker[] = [];
const timers: NodeJS.Timeout[] = [];

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 1_500 });
  evals = api.client.evals;
  await importBase(api);
});
afterAll(() => api?.close());
afterEach(async () => {
  for (const timer of timers.splice(0)) clearInterval(timer);
  await api.query(
    `UPDATE eval_run SET status = 'canceled', owner = NULL WHERE status <> 'completed'`,
  );
  for (const worker of workers.splice(0)) worker.vanish();
  await until(async () => (await api.query('SELECT 1 FROM answer')).length === 0);
});

const lastMessage = ({ messages }: WorkerRequest): string => messages.at(-1)?.content ?? '';

/** Connects a worker that answers each question. */
async function answering(answer: (question: WorkerRequest) => string): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
  workers.push(worker);
  let seen = 0;
  timers.push(
    setInterval(() => {
      for (; seen < worker.requests.length; seen++) {
        const question = worker.requests[seen]!;
        worker.sendText(question.id, answer(question));
      }
    }, 20),
  );
  return worker;
}

const ITEM_SCHEMA = {
  type: 'object',
  properties: { word: { type: 'string' }, answer: { type: 'string' } },
  required: ['word', 'answer'],
};
const SAME = {
  type: 'string_check' as const,
  name: 'same',
  operation: 'eq' as const,
  input: '{{sample.output_text}}',
  reference: '{{item.answer}}',
};
/** Schema whose pattern takes exponential time on a long `a`. */
const SLOW = { properties: { a: { type: 'string', pattern: '^(a+)+$' } } };
const CLOSE = {
  type: 'text_similarity' as const,
  name: 'close',
  evaluation_metric: 'fuzzy_match' as const,
  input: '{{sample.output_text}}',
  reference: '{{item.answer}}',
  pass_threshold: 0.5,
};
const JUDGE = {
  type: 'score_model' as const,
  name: 'judge',
  model: 'tiny',
  input: [{ role: 'user' as const, content: 'Grade {{sample.output_text}}' }],
};

const makeEval = (more: Partial<Create> = {}) =>
  evals.create({
    name: 'words',
    data_source_config: { type: 'custom', item_schema: ITEM_SCHEMA, include_sample_schema: true },
    testing_criteria: [SAME, CLOSE],
    ...more,
  });
const items = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ item: { word: `w${n}`, answer: `W${n}` } }));
const inline = (content: object[]) => ({ type: 'file_content', content }) as never;
const completions = (source: unknown, more: object = {}): Source =>
  ({
    type: 'completions',
    model: 'tiny',
    source,
    input_messages: {
      type: 'template',
      template: [{ role: 'user', content: 'In capitals: {{item.word}}' }],
    },
    ...more,
  }) as Source;
const upload = (text: string) =>
  api.client.files.create({ file: new File([text], 'items.jsonl'), purpose: 'evals' });

async function ended(evalId: string, runId: string, limitMs = 20_000) {
  await until(async () => {
    const { status } = await evals.runs.retrieve(runId, { eval_id: evalId });
    return status === 'completed';
  }, limitMs);
  return evals.runs.retrieve(runId, { eval_id: evalId });
}

async function outputs(evalId: string, runId: string, more: object = {}) {
  const all = [];
  for await (const item of evals.runs.outputItems.list(runId, {
    eval_id: evalId,
    limit: 3,
    ...more,
  }))
    all.push(item);
  return all;
}

it("enforces the response format of a run, in either of OpenAI's notations", async () => {
  const forms: unknown[] = [];
  const worker = await answering(({ response_format }) => {
    forms.push(response_format);
    return '"x"';
  });
  const named = { name: 'it', schema: { type: 'string', maxLength: 3 }, strict: true };
  const asked = [
    { type: 'completions', sampling_params: { response_format: { type: 'json_schema', json_schema: named } } }, // prettier-ignore
    { type: 'responses', sampling_params: { text: { format: { type: 'json_schema', ...named } } } },
    { type: 'responses', sampling_params: { text: { format: { type: 'text' } } } },
  ];
  const { id } = await makeEval();
  for (const more of asked) {
    const data_source = completions(inline(items(1)), more);
    await ended(id, (await evals.runs.create(id, { data_source })).id);
  }
  const form = { type: 'json_schema', schema: named.schema };
  expect(forms).toEqual([form, form, null]);
  worker.vanish();
});

it('evals are created, listed, updated and deleted', async () => {
  const one = await makeEval({ metadata: { a: 'b' } });
  expect(one).toMatchObject({
    object: 'eval',
    name: 'words',
    metadata: { a: 'b' },
    data_source_config: {
      type: 'custom',
      schema: { properties: { item: ITEM_SCHEMA, sample: {} }, required: ['item', 'sample'] },
    },
    testing_criteria: [SAME, CLOSE],
  });
  expect(await evals.retrieve(one.id)).toEqual(one);
  const two = await makeEval({ name: 'second' });
  const listed = [];
  for await (const each of evals.list({ limit: 1, order: 'desc' })) listed.push(each.id);
  expect(listed.slice(0, 2)).toEqual([two.id, one.id]);
  expect(await evals.update(one.id, { name: 'other' })).toMatchObject({
    name: 'other',
    metadata: { a: 'b' },
  });
  expect(await evals.delete(one.id)).toEqual({
    object: 'eval.deleted',
    deleted: true,
    eval_id: one.id,
  });
  expect((await caught(evals.retrieve(one.id))).status).toBe(404);
});

describe('a run', () => {
  it('queries a model and grades its answers, with counts by item, criterion and model', async () => {
    await answering((question) => {
      const text = lastMessage(question);
      if (text.startsWith('Grade')) return text.includes('W1') ? 'well' : '1';
      const [word] = /w\d+/.exec(text)!;
      return word === 'w0' ? 'W0' : word === 'w1' ? 'W1' : word === 'w2' ? 'W9' : 'nothing like it';
    });
    const { id } = await makeEval({ testing_criteria: [SAME, CLOSE, JUDGE] });
    const run = await evals.runs.create(id, {
      name: 'first',
      data_source: completions(inline(items(4)), {
        sampling_params: { temperature: 0, seed: 5, max_completion_tokens: 7 },
      }),
    });
    expect(run).toMatchObject({
      object: 'eval.run',
      eval_id: id,
      status: 'queued',
      model: 'tiny',
      name: 'first',
      error: null,
      result_counts: { total: 4, passed: 0, failed: 0, errored: 0 },
    });
    const done = await ended(id, run.id);
    expect(done).toMatchObject({
      result_counts: { total: 4, passed: 1, failed: 2, errored: 1 },
      per_testing_criteria_results: [
        { testing_criteria: 'same', passed: 2, failed: 2 },
        { testing_criteria: 'close', passed: 3, failed: 1 },
        { testing_criteria: 'judge', passed: 3, failed: 1 },
      ],
      per_model_usage: [
        {
          model_name: 'tiny',
          invocation_count: 8,
          prompt_tokens: 72,
          completion_tokens: 8,
          total_tokens: 80,
          cached_tokens: 0,
        },
      ],
    });
    const all = await outputs(id, run.id);
    expect(all.map(({ status }) => status)).toEqual(['pass', 'error', 'fail', 'fail']);
    expect(all.map((one) => one.datasource_item_id)).toEqual([0, 1, 2, 3]);
    expect(all[0]).toMatchObject({
      object: 'eval.run.output_item',
      run_id: run.id,
      datasource_item: { word: 'w0', answer: 'W0' },
      sample: {
        model: 'tiny',
        input: [{ role: 'user', content: 'In capitals: w0' }],
        output: [{ role: 'assistant', content: 'W0' }],
        finish_reason: 'stop',
        seed: 5,
        temperature: 0,
        max_completion_tokens: 7,
        usage: { total_tokens: 10 },
        error: null,
      },
      results: [
        { name: 'same', passed: true, score: 1 },
        { name: 'close', passed: true, score: 1 },
        { name: 'judge', passed: true, score: 1, sample: { output: [{ content: '1' }] } },
      ],
    });
    expect(all[1]!.results[2]).toMatchObject({
      passed: false,
      error: { code: 'model_grader_parse_error' },
    });
    expect(all[2]!.results[1]).toMatchObject({ passed: true, score: 0.5 });
    expect((await outputs(id, run.id, { status: 'fail' })).map((one) => one.id)).toEqual([
      all[2]!.id,
      all[3]!.id,
    ]);
    const descending = await outputs(id, run.id, { order: 'desc' });
    expect(descending).toEqual(all.toReversed());
    const one = { eval_id: id, run_id: run.id };
    expect(await evals.runs.outputItems.retrieve(all[0]!.id, one)).toEqual(all[0]);
    const runs = await evals.runs.list(id, { status: 'completed' });
    expect(runs.data).toEqual([done]);
    expect((await evals.runs.list(id, { status: 'canceled' })).data).toEqual([]);
    expect(await evals.runs.delete(run.id, { eval_id: id })).toEqual({
      object: 'eval.run.deleted',
      deleted: true,
      run_id: run.id,
    });
    expect(await api.query('SELECT 1 FROM eval_item WHERE run_id = $1', [run.id])).toEqual([]);
  });

  it('grades answers of a file, without a worker', async () => {
    const lines = [
      { item: { word: 'a', answer: 'A' }, sample: { output_text: 'A' } },
      { item: { word: 'b', answer: 'B' }, sample: { output_text: 'b' } },
      { item: { word: 'c', answer: 'C' } },
    ];
    const file = await upload(lines.map((line) => `${JSON.stringify(line)}\n`).join('\n'));
    expect(file).toMatchObject({ purpose: 'evals', status: 'processed' });
    const { id } = await makeEval({ testing_criteria: [SAME] });
    const create = () =>
      evals.runs.create(id, {
        data_source: { type: 'jsonl', source: { type: 'file_id', id: file.id } },
      });
    const [run, other] = [await create(), await create()];
    const counts = { total: 3, passed: 1, failed: 1, errored: 1 };
    expect((await ended(id, run.id)).result_counts).toEqual(counts);
    const [, , last] = await outputs(id, run.id);
    await api.client.files.delete(file.id);
    expect((await ended(id, other.id)).result_counts).toEqual(counts);
    expect(last!.results[0]).toMatchObject({
      error: {
        code: 'invalid_value',
        message: expect.stringContaining('there is no sample because the data source has no model'),
      },
    });
  });

  it('sends the messages of an item, and reports an error for an item without any', async () => {
    const worker = await answering(() => 'A');
    const { id } = await evals.create({
      data_source_config: { type: 'custom', item_schema: {} },
      testing_criteria: [SAME],
    });
    const chat = [
      { role: 'system', content: 'S' },
      { role: 'user', content: 'U' },
    ];
    const run = await evals.runs.create(id, {
      data_source: completions(
        inline([{ item: { chat, answer: 'A' } }, { item: { answer: 'A' } }]),
        {
          type: 'responses',
          input_messages: { type: 'item_reference', item_reference: 'item.chat' },
        },
      ),
    });
    expect((await ended(id, run.id)).result_counts).toMatchObject({ passed: 1, errored: 1 });
    expect(worker.requests.map(({ messages }) => messages)).toEqual([chat]);
    const [, wrong] = await outputs(id, run.id);
    expect(wrong!.sample.error).toMatchObject({
      message: 'item.chat: expected a list of messages',
    });
  });

  it('is rejected if its schema takes too long to check, which does not block the API', async () => {
    const { id } = await evals.create({
      data_source_config: { type: 'custom', item_schema: SLOW },
      testing_criteria: [SAME],
    });
    let others = 0;
    timers.push(setInterval(() => others++, 50));
    const content = [{ item: { a: `${'a'.repeat(60)}b` } }];
    const { message, param } = await caught(
      evals.runs.create(id, {
        data_source: { type: 'jsonl', source: { type: 'file_content', content } },
      }),
    );
    expect([message, param]).toEqual([
      expect.stringContaining('takes more than 2 s to check'),
      'data_source_config.item_schema',
    ]);
    expect(others).toBeGreaterThan(10);
  });

  it('waits for a worker, leaves capacity for chats, and can be cancelled', async () => {
    await api.query(`UPDATE project SET limits = '{"chats": 4}' WHERE id = 'proj-default'`);
    const { id } = await makeEval();
    const run = await evals.runs.create(id, { data_source: completions(inline(items(30))) });
    await until(async () => {
      const { status } = await evals.runs.retrieve(run.id, { eval_id: id });
      return status === 'in_progress';
    });
    const worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
    workers.push(worker);
    worker.sendText((await worker.nextRequest(15_000)).id, 'W0');
    await worker.nextRequest();
    await worker.nextRequest();
    await new Promise((resolve) => setTimeout(resolve, 300));
    // Two concurrent questions, of the four chats that the project may have.
    expect(worker.requests.length).toBe(3);
    // The route of OpenAI's current SDKs, then the one of the installed SDK.
    const cancelled = await api.client.post(`/evals/${id}/runs/${run.id}/cancel`);
    expect(cancelled).toMatchObject({ status: 'canceled', result_counts: { total: 30 } });
    expect(await evals.runs.cancel(run.id, { eval_id: id })).toEqual(cancelled);
    await until(() => worker.cancelled.length === 2);
    const { result_counts: counts } = await evals.runs.retrieve(run.id, { eval_id: id });
    expect(counts.passed + counts.failed).toBe(1);
    await api.query(`UPDATE project SET limits = '{}' WHERE id = 'proj-default'`);
  });

  it('is visible only in its project', async () => {
    const other = clientOf(api, (await makeProject(api, 'elsewhere')).owner.key).evals;
    const { id } = await makeEval();
    const run = await evals.runs.create(id, {
      data_source: { type: 'jsonl', source: inline(items(1)) },
    });
    for (const work of [
      () => other.retrieve(id),
      () => other.update(id, {}),
      () => other.delete(id),
      () => other.runs.list(id),
      () => other.runs.retrieve(run.id, { eval_id: id }),
      () => other.runs.cancel(run.id, { eval_id: id }),
      () => other.runs.delete(run.id, { eval_id: id }),
      () => other.runs.outputItems.list(run.id, { eval_id: id }),
      () => other.runs.create(id, { data_source: { type: 'jsonl', source: inline(items(1)) } }),
    ])
      expect((await caught(work() as Promise<unknown>)).status).toBe(404);
    expect((await other.list()).data).toEqual([]);
  });
});

describe('rejects with the param', () => {
  const schemaOf = (a: object) => ({
    data_source_config: { type: 'custom', item_schema: { properties: { a } } },
  });

  it.each([
    [{ data_source_config: { type: 'logs' } }, 'data_source_config.type', 'only custom'],
    [schemaOf({ type: 'text' }), 'data_source_config.item_schema.properties.a.type', 'got "text"'],
    [
      schemaOf({ $ref: 'https://example.com/a.json' }),
      'data_source_config.item_schema',
      "can't resolve reference",
    ],
    [{ testing_criteria: [] }, 'testing_criteria', ''],
    [{ testing_criteria: [SAME, SAME] }, 'testing_criteria', 'unique names'],
    [
      { testing_criteria: [{ ...SAME, input: '{{word}}' }] },
      'testing_criteria.0.input',
      '{{word}} does not exist',
    ],
    [
      { testing_criteria: [{ ...JUDGE, model: 'unknown-model' }] },
      'testing_criteria.0.model',
      'unknown-model',
    ],
  ])('an invalid eval: %#', async (more, param, message) => {
    const refused = await caught(makeEval(more as never));
    expect([refused.status === 400 || refused.status === 404, refused.param]).toEqual([
      true,
      param,
    ]);
    expect(refused.message).toContain(message);
  });

  it('an invalid run', async () => {
    const { id } = await makeEval();
    const broken = await upload('{"item": {"word": "a", "answer": "A"}}\n{"item": {"word": 3}}\n');
    const training = await api.client.files.create({
      file: new File(['{"text": "x"}\n'], 'x.jsonl'),
      purpose: 'fine-tune',
    });
    const file = (of: string) => ({ type: 'file_id', id: of });
    for (const [source, param, message] of [
      [
        completions(inline(items(1)), { model: 'unknown-model' }),
        'data_source.model',
        'unknown-model',
      ],
      [completions(file(broken.id)), 'data_source.source.id', 'line 2: item.answer is required'],
      [completions(file(training.id)), 'data_source.source.id', 'upload it with purpose evals'],
      [completions(file('file-x')), 'data_source.source.id', 'No such File'],
      [
        completions(inline([{ item: { word: 1, answer: '' } }])),
        'data_source.source.content',
        'content.0: item.word: expected string, got 1',
      ],
      [
        completions(inline(items(1)), {
          sampling_params: {
            response_format: {
              type: 'json_schema',
              json_schema: { name: 'it', schema: { oneOf: [true] } },
            },
          },
        }),
        'data_source.sampling_params.response_format.json_schema.schema.oneOf',
        'use anyOf',
      ],
      [
        completions(inline(items(1)), {
          input_messages: { type: 'template', template: [{ role: 'user', content: '{{wrod}}' }] },
        }),
        'data_source.input_messages.template.0.content',
        '{{wrod}} does not exist',
      ],
    ] as const) {
      const refused = await caught(evals.runs.create(id, { data_source: source }));
      expect(refused.message).toContain(message);
      expect(refused.param).toBe(param);
    }
    expect((await evals.runs.list(id)).data).toEqual([]);
  });
});

it('continues in another process after one is killed, with each item once', async () => {
  const gateways = async (): Promise<string[]> =>
    (await api.query<{ id: string }>('SELECT id FROM gateway')).map((one) => one.id);
  const before = await gateways();
  const child: ChildProcess = spawn(
    process.execPath,
    [fileURLToPath(new URL('process.mjs', import.meta.url)), JSON.stringify(api.config)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    let out = '';
    child.stdout?.on('data', (text: Buffer) => (out += text.toString()));
    await until(() => out.includes('\n'), 60_000);
    const { url } = JSON.parse(out.slice(out.indexOf('{'))) as { url: string };
    const ofChild = (await gateways()).find((one) => !before.includes(one));
    const other = new OpenAI({ apiKey: api.apiKey, baseURL: `${url}/v1`, maxRetries: 0 });
    const asked: string[] = [];
    await answering((question) => {
      const [word = ''] = /w\d+/.exec(lastMessage(question)) ?? [];
      asked.push(word);
      return word.toUpperCase();
    });
    const { id } = await makeEval({ testing_criteria: [SAME] });
    // Either process may claim a run; wait for one claimed by the process that is to be killed.
    const taken = async (): Promise<string> => {
      asked.length = 0;
      const run = await other.evals.runs.create(id, {
        data_source: completions(inline(items(400))),
      });
      await until(() => asked.length >= 20, 20_000);
      const at = await api.query<{ gateway_id: string }>('SELECT DISTINCT gateway_id FROM answer');
      if (at.length === 1 && at[0]!.gateway_id === ofChild) return run.id;
      await evals.runs.cancel(run.id, { eval_id: id });
      return taken();
    };
    const run = await taken();
    const owner = async (): Promise<string | null> =>
      (
        await api.query<{ owner: string | null }>('SELECT owner FROM eval_run WHERE id = $1', [run])
      )[0]!.owner;
    const first = await owner();
    child.kill('SIGKILL');
    await until(async () => ![null, first].includes(await owner()), 20_000);
    const done = await ended(id, run, 40_000);
    expect(done.result_counts).toEqual({ total: 400, passed: 400, failed: 0, errored: 0 });
    expect(done.per_testing_criteria_results).toEqual([
      { testing_criteria: 'same', passed: 400, failed: 0 },
    ]);
    expect(new Set(asked).size).toBe(400);
    // Only questions in progress at the kill are asked again.
    expect(asked.length).toBeLessThanOrEqual(404);
  } finally {
    child.kill('SIGKILL');
  }
}, 90_000);
