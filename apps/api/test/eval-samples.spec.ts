// Sample fields that graders of an eval can use, and the sampling parameters in a run's items.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

/** Creates an eval and a run, and returns the run's counts and items after its end. */
async function graded(criteria: object[], data_source: object) {
  const { evals } = api.client;
  const { id } = await evals.create({
    data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
    testing_criteria: criteria as never,
  });
  const made = await evals.runs.create(id, { data_source: data_source as never });
  const run = () => evals.runs.retrieve(made.id, { eval_id: id });
  await until(async () => (await run()).status === 'completed', 20_000);
  const { data } = await evals.runs.outputItems.list(made.id, { eval_id: id });
  return { counts: (await run()).result_counts, items: data };
}

const inline = (content: object[]) => ({ type: 'file_content', content });
const jsonl = (content: object[]) => ({ type: 'jsonl', source: inline(content) });
const same = (input: string) => ({
  type: 'string_check',
  name: 'same',
  operation: 'eq',
  input,
  reference: '{{item.answer}}',
});

it('counts a field missing in the answer as a wrong answer, and one missing in the item as an error', async () => {
  const { counts, items } = await graded(
    [same('{{sample.output_json.a}}')],
    jsonl([
      { item: { answer: 'x' }, sample: { output_text: '{"a": "x"}' } },
      { item: { answer: 'x' }, sample: { output_text: '{"b": 1}' } },
      { item: { answer: 'x' }, sample: { output_text: 'a: x' } },
      { item: { anwser: 'x' }, sample: { output_text: '{"a": "x"}' } },
    ]),
  );
  expect(counts).toEqual({ total: 4, passed: 1, failed: 2, errored: 1 });
  const missing = (what: string) => ({
    code: 'sample_parse_error',
    message: `same.input: {{sample.output_json.a}} does not exist; ${what}`,
  });
  const message = 'same.reference: {{item.answer}} does not exist; the item has anwser';
  expect(items.map(({ status, results: [one] }) => [status, one!.score, one!['error']])).toEqual([
    ['pass', 1, undefined],
    ['fail', 0, missing('output_json of the sample has b')],
    ['fail', 0, missing('the sample is not JSON')],
    ['error', 0, { code: 'invalid_value', message }],
  ]);
});

it('reads tool calls and choices of a sample', async () => {
  const output_tools = [{ type: 'function', function: { name: 'find', arguments: '{}' } }];
  const choices = [{ index: 0, message: { role: 'assistant', content: 'find' } }];
  const { items } = await graded(
    [
      same('{{sample.output_tools[0].function.name}}'),
      { ...same('{{sample.choices[0].message.content}}'), name: 'choice' },
    ],
    jsonl([
      { item: { answer: 'find' }, sample: { output_text: '', output_tools, choices } },
      { item: { answer: 'said' }, sample: { output_text: 'said' } },
    ]),
  );
  expect(items.map(({ results }) => results.map(({ passed }) => passed))).toEqual([
    [true, true],
    [false, true],
  ]);
});

it('fills the sample of a given answer with every field that the SDK’s types require', async () => {
  const given = { output_text: 'W', model: 'other' };
  const { items } = await graded(
    [same('{{item.answer}}')],
    jsonl([{ item: { answer: 'W' }, sample: given }, { item: { answer: 'W' } }]),
  );
  const empty = {
    model: '',
    input: [],
    output: [],
    finish_reason: '',
    usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, cached_tokens: 0 },
    temperature: 1,
    top_p: 1,
    seed: 0,
    max_completion_tokens: 0,
    error: null,
  };
  const output = [{ role: 'assistant', content: 'W' }];
  expect(items.map(({ sample }) => sample)).toEqual([{ ...empty, ...given, output }, empty]);
});

it('reports the sampling parameters of an answer, including defaults', async () => {
  const worker = await new ScriptedWorker(api).connect();
  const source = {
    type: 'completions',
    model: 'tiny',
    source: inline([{ item: { answer: 'W' } }]),
    input_messages: { type: 'template', template: [{ role: 'user', content: 'Say W' }] },
  };
  const ended = graded([same('{{sample.output_text}}')], source);
  const question = await worker.nextRequest(15_000);
  worker.sendText(question.id, 'W');
  const { items } = await ended;
  expect(items[0]!.sample).toMatchObject({
    temperature: 1,
    top_p: 1,
    seed: question.seed,
    max_completion_tokens: question.max_tokens,
  });
  expect(question).toMatchObject({ temperature: 1, top_p: 1, max_tokens: 256 });
  worker.vanish();
});

it.each(['completions', 'responses'])(
  '%s: rejects answers longer than the window',
  async (type) => {
    const refused = await caught(
      graded([same('{{sample.output_text}}')], {
        type,
        model: 'tiny',
        source: inline([{ item: { answer: 'x' } }]),
        input_messages: { type: 'template', template: [{ role: 'user', content: 'Hi' }] },
        sampling_params: { max_completion_tokens: 129 },
      }),
    );
    const param = 'data_source.sampling_params.max_completion_tokens';
    expect(refused).toMatchObject({ status: 400, code: 'invalid_value', param });
    expect(refused.message).toContain(`${param} is 129, but tiny supports at most 128 tokens`);
  },
);

it.each<[string, unknown, object, string, string]>([
  [
    'an image',
    [{ type: 'input_image', image_url: '{{item.image}}' }],
    {},
    'input_messages.template.0.content.0.type',
    '"input_image" is not supported; use input_text or output_text',
  ],
  [
    'audio',
    { type: 'input_audio', input_audio: { data: 'x', format: 'mp3' } },
    {},
    'input_messages.template.0.content.type',
    '"input_audio" is not supported',
  ],
  [
    'a tool',
    'Hi',
    { tools: [{ type: 'function', name: 'find' }] },
    'sampling_params.tools',
    'answers of an eval run cannot call tools',
  ],
])('rejects %s with its field', async (_, content, sampling, field, message) => {
  const refused = await caught(
    graded([same('{{sample.output_text}}')], {
      type: 'responses',
      model: 'tiny',
      source: inline([{ item: { answer: 'x', image: 'data:' } }]),
      input_messages: { type: 'template', template: [{ role: 'user', content }] },
      sampling_params: sampling,
    }),
  );
  expect(refused).toMatchObject({ status: 400, param: `data_source.${field}` });
  expect(refused.message).toContain(message);
});

it('an item whose messages have an image gets an error with the reason', async () => {
  const chat = [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:' }] }];
  const { counts, items } = await graded([same('{{sample.output_text}}')], {
    type: 'responses',
    model: 'tiny',
    source: inline([{ item: { answer: 'x', chat } }]),
    input_messages: { type: 'item_reference', item_reference: 'item.chat' },
  });
  expect(counts).toMatchObject({ total: 1, errored: 1 });
  expect(items[0]?.sample.error).toMatchObject({
    code: 'invalid_value',
    message: 'messages.0.content.0.type: only text parts are supported',
  });
});
