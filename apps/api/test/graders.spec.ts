// Graders through the official SDK; model graders with a worker whose answers the test scripts.
import type OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker, type WorkerRequest } from './scripted-worker.js';

type Run = OpenAI.FineTuning.Alpha.GraderRunParams;

let api: TestApi;
let graders: OpenAI['fineTuning']['alpha']['graders'];
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  api = await startTestApi();
  graders = api.client.fineTuning.alpha.graders;
  await importBase(api);
});
afterAll(() => api?.close());
afterEach(async () => {
  for (const worker of workers.splice(0)) worker.vanish();
  await until(async () => (await api.query('SELECT 1 FROM answer')).length === 0);
});

async function join(): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(api).connect();
  workers.push(worker);
  return worker;
}

const run = (grader: object, model_sample: string, item: unknown = {}) =>
  graders.run({ grader, model_sample, item } as unknown as Run);
const reward = async (grader: object, sample: string, item?: unknown): Promise<number> =>
  (await run(grader, sample, item)).reward;

const check = (operation: string, more: object = {}) => ({
  type: 'string_check',
  name: 'check',
  operation,
  input: '{{sample.output_text}}',
  reference: '{{item.answer}}',
  ...more,
});
const similar = (evaluation_metric: string) => ({
  type: 'text_similarity',
  name: 'similar',
  evaluation_metric,
  input: '{{ sample.output_text }}',
  reference: '{{item.answer}}',
});
const score = (more: object = {}) => ({
  type: 'score_model',
  name: 'score',
  model: 'tiny',
  input: [
    { role: 'developer', content: 'You grade.' },
    {
      role: 'user',
      content: [{ type: 'input_text', text: 'Q {{item.q}} ' }, 'A {{sample.output_text}}'],
    },
  ],
  ...more,
});
const label = (more: object = {}) => ({
  ...score(),
  type: 'label_model',
  name: 'label',
  labels: ['good', 'bad'],
  passing_labels: ['good'],
  ...more,
});

describe('string_check', () => {
  it.each([
    ['eq', 'Paris', 1],
    ['eq', 'paris', 0],
    ['ne', 'paris', 1],
    ['like', 'It is Paris.', 1],
    ['like', 'It is paris.', 0],
    ['ilike', 'It is PARIS.', 1],
  ])('%s of %s is %d', async (operation, sample, expected) => {
    expect(await reward(check(operation), sample, { answer: 'Paris' })).toBe(expected);
  });

  it("returns the SDK's result object", async () => {
    expect(await run(check('eq'), 'a', { answer: 'a' })).toEqual({
      reward: 1,
      metadata: {
        name: 'check',
        type: 'string_check',
        errors: expect.objectContaining({ formula_parse_error: false, other_error: false }),
        execution_time: expect.any(Number),
        scores: { check: 1 },
        token_usage: null,
        sampled_model_name: null,
      },
      sub_rewards: {},
      model_grader_token_usage_per_model: {},
    });
  });

  it('parses a JSON sample, and reports an error if it is not JSON', async () => {
    const grader = check('eq', { input: '{{sample.output_json.a}}' });
    expect(await reward(grader, '{"a": "x"}', { answer: 'x' })).toBe(1);
    for (const [sample, details] of [
      ['a: x', 'the sample is not JSON'],
      ['{"b": 1}', 'output_json of the sample has b'],
      ['null', 'output_json of the sample is null'],
    ] as const) {
      const { reward: none, metadata } = await run(grader, sample, { answer: 'x' });
      expect([none, metadata.errors]).toEqual([
        0,
        expect.objectContaining({
          sample_parse_error: true,
          sample_parse_error_details: `grader.input: {{sample.output_json.a}} does not exist; ${details}`,
        }),
      ]);
    }
  });
});

it('text_similarity computes the chosen metric', async () => {
  const item = { answer: 'the cat sat on the mat' };
  for (const metric of ['fuzzy_match', 'bleu', 'gleu', 'rouge_1', 'rouge_5', 'rouge_l'])
    expect(await reward(similar(metric), item.answer, item)).toBeCloseTo(1, 12);
  expect(await reward(similar('rouge_1'), 'the dog', item)).toBeCloseTo(0.25, 12);
  const refused = await caught(run(similar('cosine'), 'x', item));
  expect([refused.status, refused.code, refused.param]).toEqual([
    400,
    'unsupported',
    'grader.evaluation_metric',
  ]);
});

it("accepts the graders of OpenAI's guide unchanged", async () => {
  const close = { ...similar('fuzzy_match'), pass_threshold: 0.5 };
  const grader = {
    type: 'multi',
    graders: { close, same: check('eq') },
    calculate_output: 'close',
  };
  expect(await graders.validate({ grader: grader as never })).toMatchObject({ grader });
  const { reward: half, metadata } = await run(grader, 'abcd', { answer: 'ab' });
  expect(half).toBeCloseTo(2 / 3, 12);
  expect(metadata).toMatchObject({ name: 'multi', scores: { multi: half } });
  const judge = score({ pass_threshold: 0.8 });
  expect(await graders.validate({ grader: judge as never })).toMatchObject({ grader: judge });
  const named = check('eq', { input: '{{sample.choices[0].message.content}}' });
  expect(await reward(named, 'x', { answer: 'x' })).toBe(1);
  const called = check('eq', { input: '{{sample.output_tools[0].function.name}}' });
  const none = await run(called, 'x', { answer: 'x' });
  expect([none.reward, none.metadata.errors.sample_parse_error]).toEqual([0, true]);
});

describe('multi', () => {
  const multi = (calculate_output: string) => ({
    type: 'multi',
    name: 'both',
    graders: { same: check('eq'), like: { ...similar('rouge_1'), name: 'another name' } },
    calculate_output,
  });

  it('is calculated from its graders', async () => {
    const result = await run(multi('0.25 * same + max(like, 0) ^ 2'), 'a b', { answer: 'a' });
    expect(result.reward).toBeCloseTo((2 / 3) ** 2, 12);
    expect(result.sub_rewards).toEqual({ same: 0, like: expect.closeTo(2 / 3, 12) });
    const { metadata } = await run(multi('1 / same'), 'a b', { answer: 'a' });
    expect(metadata.errors.other_error).toBe(true);
  });

  it("accepts a single grader, as the SDK's type allows", async () => {
    const grader = { ...multi('check / 2'), graders: check('eq') };
    expect(await reward(grader, 'a', { answer: 'a' })).toBe(0.5);
  });

  it.each([
    ['same +', 'grader.calculate_output: expected a number'],
    ['same + other', 'no grader is named other; expected one of same, like'],
    ['process.exit(1)', 'expected an operator'],
  ])('rejects %s', async (formula, message) => {
    const refused = await caught(graders.validate({ grader: multi(formula) as never }));
    expect([refused.status, refused.param]).toEqual([400, 'grader.calculate_output']);
    expect(refused.message).toContain(message);
  });
});

describe('a model grader', () => {
  const schemaOf = ({ response_format }: WorkerRequest): unknown =>
    (response_format as { schema?: unknown } | null)?.schema;

  it('returns a score', async () => {
    const worker = await join();
    const asked = run(
      score({
        range: [1, 5],
        sampling_params: { seed: 3, temperature: 0, max_completions_tokens: 9 },
      }),
      'A',
      { q: 'Q' },
    );
    const question = await worker.nextRequest();
    expect(question).toMatchObject({
      base: { id: 'tiny' },
      seed: 3,
      temperature: 0,
      max_tokens: 9,
    });
    expect(schemaOf(question)).toEqual({ type: 'number', minimum: 1, maximum: 5 });
    expect(question.messages).toEqual([
      { role: 'system', content: 'You grade.' },
      {
        role: 'user',
        content: 'Q Q A A\n\nAnswer with one number from 1 to 5, and nothing else.',
      },
    ]);
    worker.sendText(question.id, '4.');
    worker.sendText(question.id, '5', 'stop');
    const usage = { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 };
    expect(await asked).toMatchObject({
      reward: 4,
      metadata: { token_usage: 10, sampled_model_name: 'tiny', type: 'score_model' },
      model_grader_token_usage_per_model: { tiny: usage },
    });
  });

  it.each([
    ['good', 1],
    ['Bad.', 0],
  ])('returns a label: %s is %d', async (answer, expected) => {
    const worker = await join();
    const asked = reward(label(), 'A', { q: 'Q' });
    const question = await worker.nextRequest();
    expect(schemaOf(question)).toEqual({ enum: ['good', 'bad'] });
    worker.sendText(question.id, answer);
    expect(await asked).toBe(expected);
  });

  it('that does not support response_format is asked for the format in the prompt', async () => {
    const worker = await join();
    const asked = reward(label(), 'A', { q: 'Q' });
    worker.sendText((await worker.nextRequest()).id, '', 'error', 'unsupported');
    const question = await worker.nextRequest();
    expect(question.response_format).toBeNull();
    worker.sendText(question.id, 'good');
    expect(await asked).toBe(1);
    const narrow = reward(score({ range: [0.2, 0.8] }), 'A', { q: 'Q' });
    const second = await worker.nextRequest();
    expect(second.response_format).toBeNull();
    worker.sendText(second.id, '0.5');
    expect(await narrow).toBe(0.5);
  });

  it('with an unparsable answer sets model_grader_parse_error, also in a multi', async () => {
    const worker = await join();
    const asked = run(
      {
        type: 'multi',
        name: 'm',
        graders: { a: label(), b: check('eq') },
        calculate_output: 'a + b',
      },
      'A',
      { q: 'Q', answer: 'A' },
    );
    worker.sendText((await worker.nextRequest()).id, 'it is rather good');
    const { reward: none, metadata, sub_rewards } = await asked;
    expect([none, metadata.errors.model_grader_parse_error]).toEqual([0, true]);
    expect(sub_rewards).toEqual({ a: 0, b: 1 });
  });

  it('without a worker returns 503, and cancels when its client leaves', async () => {
    const none = await caught(run(score(), 'A', { q: 'Q' }));
    expect([none.status, none.code]).toEqual([503, 'no_worker']);
    const worker = await join();
    const leaving = new AbortController();
    const asked = caught(
      graders.run({ grader: score(), model_sample: 'A', item: { q: 'Q' } } as unknown as Run, {
        signal: leaving.signal,
      }),
    );
    const { id } = await worker.nextRequest();
    leaving.abort();
    await asked;
    await until(() => worker.cancelled.includes(id));
  });
});

describe('validation of graders', () => {
  it('accepts valid graders', async () => {
    for (const grader of [check('eq'), similar('meteor'), score(), label()])
      expect(await graders.validate({ grader: grader as never })).toMatchObject({ grader });
  });

  it.each([
    [
      check('eq', { input: '{{answer}}' }),
      'grader.input',
      'invalid_value',
      '{{answer}} does not exist',
    ],
    [
      check('eq', { reference: '{{sample.tools}}' }),
      'grader.reference',
      'invalid_value',
      'a sample has',
    ],
    [check('same'), 'grader.operation', 'invalid_value', 'eq'],
    [check('eq', { strict: true }), 'grader.strict', 'unknown_parameter', 'strict'],
    [score({ model: 'unknown-model' }), 'grader.model', 'model_not_found', 'unknown-model'],
    [score({ range: [1, 0] }), 'grader.range', 'invalid_value', 'lower bound first'],
    [
      score({ input: [{ role: 'user', content: '{{item}} {{x}}' }] }),
      'grader.input.0.content',
      'invalid_value',
      '{{x}} does not exist',
    ],
    [
      score({ input: [{ role: 'user', content: { type: 'input_image', image_url: 'x' } }] }),
      'grader.input.0.content.type',
      'invalid_value',
      '"input_image" is not supported; use input_text or output_text',
    ],
    [label({ passing_labels: ['fine'] }), 'grader.passing_labels', 'invalid_value', 'got fine'],
    [
      { type: 'python', name: 'p', source: 'def grade(sample, item): return 1' },
      'grader.source',
      'unsupported',
      'Python graders are not available: no interpreter is configured',
    ],
  ])('rejects an invalid grader: %#', async (grader, param, code, message) => {
    const refused = await caught(graders.validate({ grader: grader as never }));
    expect([refused.param, refused.code]).toEqual([param, code]);
    expect(refused.message).toContain(message);
    expect((await caught(run(grader, 'x'))).param).toBe(param);
  });

  it('does not cover fields that an item does not have, which fail when it is graded', async () => {
    const refused = await caught(run(check('eq'), 'x', { anwser: 'y' }));
    expect(refused.message).toContain(
      'grader.reference: {{item.answer}} does not exist; the item has anwser',
    );
    const long = await caught(run(similar('bleu'), 'x'.repeat(40_000), { answer: '' }));
    expect([long.status, long.code]).toEqual([413, 'request_too_large']);
  });
});
