// The Responses API through the official SDK, with a worker that the tests control.
import type OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, type TestApi } from './fixture.js';
import type { LimitsObject } from '@graft/contracts';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
let client: OpenAI;
let worker: ScriptedWorker;
beforeAll(async () => {
  api = await startTestApi({ retentionMs: 100 });
  client = api.client;
  await importBase(api);
});
afterEach(() => worker?.vanish());
afterAll(() => api?.close());

interface UsagePage {
  readonly data: readonly {
    readonly results: readonly { output_tokens?: number; num_model_requests?: number }[];
  }[];
}

interface Piece {
  readonly text?: string;
  readonly finish_reason?: 'stop' | 'length';
  readonly logprobs?: readonly object[];
  readonly tool_calls?: readonly object[];
}

/** Answers the next request with these pieces. */
async function say(pieces: readonly Piece[]): Promise<void> {
  const { id } = await worker.nextRequest();
  for (const [i, piece] of pieces.entries())
    worker.reply(
      id,
      { text: '', finish_reason: null, prompt_tokens: 9, completion_tokens: i + 1, ...piece },
      { last: piece.finish_reason !== undefined },
    );
}

const ask = { model: 'tiny', input: 'hello?' };
const HI: readonly Piece[] = [{ text: 'Hi' }, { text: ' there', finish_reason: 'stop' }];
const CALLS: readonly Piece[] = [
  { text: 'I look. ' },
  { tool_calls: [{ name: 'weather', arguments: '{"city":"Bonn"}' }] },
  { tool_calls: [{ name: 'time', arguments: '{}' }], finish_reason: 'stop' },
];
const tools: OpenAI.Responses.FunctionTool[] = [
  { type: 'function', name: 'weather', parameters: { type: 'object' }, strict: false },
  { type: 'function', name: 'time', parameters: null, strict: null },
];

type Event = OpenAI.Responses.ResponseStreamEvent;
const eventsOf = async (stream: AsyncIterable<Event>): Promise<Event[]> => {
  const events: Event[] = [];
  for await (const event of stream) events.push(event);
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
  return events;
};
/** Events of a stream whose worker vanishes. They are read from the text, because the SDK throws at an error event. */
const eventsOfCutStream = async (): Promise<Event[]> => {
  worker = await new ScriptedWorker(api).connect();
  const asked = client.responses.create({ ...ask, stream: true }).asResponse();
  const [sent] = await Promise.all([asked, say([{ text: 'Hi' }])]);
  worker.vanish();
  const lines = [...(await sent.text()).matchAll(/^data: (.*)$/gm)];
  return lines.map(([, data]) => JSON.parse(data!) as Event);
};
const types = (events: readonly Event[]): string[] =>
  events.map(({ type }) => type.replace('response.', ''));

describe('responses through the official SDK', () => {
  it('returns a whole response, with the fields of the request and its usage', async () => {
    worker = await new ScriptedWorker(api).connect();
    const [response] = await Promise.all([
      client.responses.create({
        ...ask,
        instructions: 'Be brief.',
        metadata: { team: 'ads' },
        temperature: 0.5,
        max_output_tokens: 20,
        truncation: 'auto',
      }),
      say(HI),
    ]);
    expect(worker.requests.at(-1)).toMatchObject({
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hello?' },
      ],
      max_tokens: 20,
      truncation: 'auto',
      temperature: 0.5,
    });
    expect(response.output_text).toBe('Hi there');
    expect(response).toMatchObject({
      id: expect.stringMatching(/^resp_/) as unknown,
      object: 'response',
      status: 'completed',
      model: 'tiny',
      instructions: 'Be brief.',
      error: null,
      incomplete_details: null,
      metadata: { team: 'ads' },
      temperature: 0.5,
      top_p: 1,
      truncation: 'auto',
      max_output_tokens: 20,
      tool_choice: 'auto',
      tools: [],
      store: true,
      previous_response_id: null,
      output: [{ type: 'message', role: 'assistant', status: 'completed' }],
      usage: {
        input_tokens: 9,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: 2,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 11,
      },
    });
  });

  it('streams typed events that the SDK assembles into the same response', async () => {
    worker = await new ScriptedWorker(api).connect();
    const answered = say(HI);
    const events = await eventsOf(await client.responses.create({ ...ask, stream: true }));
    await answered;
    expect(types(events)).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'completed',
    ]);
    expect(events[6]).toMatchObject({ text: 'Hi there', output_index: 0, content_index: 0 });
    const [last] = events.slice(-1);
    expect(last).toMatchObject({ response: { status: 'completed', usage: { total_tokens: 11 } } });

    const again = say(HI);
    const stream = client.responses.stream(ask);
    const final = await stream.finalResponse();
    await again;
    expect(final.output_text).toBe('Hi there');
    expect(final.output).toHaveLength(1);
  });

  it('returns function calls as items after the text, streamed or not', async () => {
    worker = await new ScriptedWorker(api).connect();
    const [whole] = await Promise.all([client.responses.create({ ...ask, tools }), say(CALLS)]);
    expect(whole.output).toMatchObject([
      { type: 'message', content: [{ text: 'I look. ' }] },
      { type: 'function_call', name: 'weather', arguments: '{"city":"Bonn"}', status: 'completed' },
      { type: 'function_call', name: 'time', arguments: '{}' },
    ]);
    const answered = say(CALLS);
    const stream = await client.responses.create({ ...ask, tools, stream: true });
    const events = await eventsOf(stream);
    await answered;
    const call = [
      'output_item.added',
      'function_call_arguments.delta',
      'function_call_arguments.done',
      'output_item.done',
    ];
    expect(types(events).slice(5)).toEqual([
      'output_text.done',
      'content_part.done',
      'output_item.done',
      ...call,
      ...call,
      'completed',
    ]);
    const done = events.filter(({ type }) => type === 'response.function_call_arguments.done');
    expect(done).toMatchObject([
      { output_index: 1, name: 'weather', arguments: '{"city":"Bonn"}' },
      { output_index: 2, name: 'time', arguments: '{}' },
    ]);

    const one = { ...ask, tools, parallel_tool_calls: false };
    const [single] = await Promise.all([client.responses.create(one), say(CALLS)]);
    expect(single.output.map(({ type }) => type)).toEqual(['message', 'function_call']);
  });

  it('continues a conversation from the items of a response and the results of its calls', async () => {
    worker = await new ScriptedWorker(api).connect();
    const [first] = await Promise.all([client.responses.create({ ...ask, tools }), say(CALLS)]);
    const calls = first.output.filter((item) => item.type === 'function_call');
    const results = calls.map(({ call_id }) => ({
      type: 'function_call_output' as const,
      call_id,
      output: 'sun',
    }));
    const input = [{ role: 'user' as const, content: 'hello?' }, ...first.output, ...results];
    const [second] = await Promise.all([
      client.responses.create({
        ...ask,
        tools,
        input: input as OpenAI.Responses.ResponseInput,
      }),
      say(HI),
    ]);
    expect(second.output_text).toBe('Hi there');
    expect(worker.requests.at(-1)?.messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: 'I look. ', tool_calls: [{ id: calls[0]?.call_id }, {}] },
      { role: 'tool', tool_call_id: calls[0]?.call_id, content: 'sun' },
      { role: 'tool', tool_call_id: calls[1]?.call_id, content: 'sun' },
    ]);
  });

  it('is incomplete if it reaches max_output_tokens', async () => {
    worker = await new ScriptedWorker(api).connect();
    const cut: Piece[] = [{ text: 'Hi' }, { text: ' th', finish_reason: 'length' }];
    const short = { ...ask, max_output_tokens: 2 };
    const [whole] = await Promise.all([client.responses.create(short), say(cut)]);
    expect(whole).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ status: 'incomplete' }],
    });
    const answered = say(cut);
    const events = await eventsOf(await client.responses.create({ ...short, stream: true }));
    await answered;
    expect(events.at(-1)).toMatchObject({
      type: 'response.incomplete',
      response: { incomplete_details: { reason: 'max_output_tokens' } },
    });
  });

  it('returns an empty message if the model writes nothing', async () => {
    worker = await new ScriptedWorker(api).connect();
    const [{ output }] = await Promise.all([
      client.responses.create(ask),
      say([{ finish_reason: 'stop' }]),
    ]);
    expect(output).toMatchObject([{ type: 'message', content: [{ text: '' }] }]);
  });

  it('returns log-probabilities with the text, its deltas and the complete part', async () => {
    worker = await new ScriptedWorker(api).connect();
    const token = { token: 'Hi', bytes: [72, 105], logprob: -0.5 };
    const shown = [{ ...token, top_logprobs: [token] }];
    const pieces: Piece[] = [
      { text: 'Hi', logprobs: [{ ...token, start: 0, top: [token] }] },
      { finish_reason: 'stop' },
    ];
    const wanted = {
      ...ask,
      include: ['message.output_text.logprobs' as const],
      top_logprobs: 1,
    };
    const [whole] = await Promise.all([client.responses.create(wanted), say(pieces)]);
    expect(worker.requests.at(-1)).toMatchObject({ top_logprobs: 1 });
    expect(whole.output).toMatchObject([{ content: [{ logprobs: shown }] }]);
    const answered = say(pieces);
    const events = await eventsOf(await client.responses.create({ ...wanted, stream: true }));
    await answered;
    const having = events.filter((event) => 'logprobs' in event);
    expect(having.map(({ type }) => type)).toEqual([
      'response.output_text.delta',
      'response.output_text.done',
    ]);
    for (const event of having) expect(event).toMatchObject({ logprobs: shown });
  });

  it('ends a stream with an error event if its worker dies', async () => {
    const [error, failed] = (await eventsOfCutStream()).slice(-2);
    expect(error).toMatchObject({ type: 'error', code: expect.any(String) as unknown });
    expect(failed).toMatchObject({
      type: 'response.failed',
      response: {
        status: 'failed',
        error: { code: 'server_error', message: (error as { message: string }).message },
        output: [{ status: 'incomplete', content: [{ text: 'Hi' }] }],
      },
    });
  });

  it('returns early errors as plain HTTP errors, streamed or not', async () => {
    for (const stream of [true, false]) {
      const missing = await caught(client.responses.create({ ...ask, model: 'none', stream }));
      expect(missing).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' });
      const long = { ...ask, max_output_tokens: 30_000, stream };
      expect(await caught(client.responses.create(long))).toMatchObject({
        status: 400,
        param: 'max_output_tokens',
      });
      const continued = { ...ask, previous_response_id: 'resp_none', stream };
      expect(await caught(client.responses.create(continued))).toMatchObject({
        status: 404,
        code: 'not_found',
        param: 'previous_response_id',
      });
    }
  });

  it('names its own fields in errors of workers', async () => {
    worker = await new ScriptedWorker(api).connect();
    const refuse = async (errorParam: string): Promise<void> => {
      const { id } = await worker.nextRequest();
      const failure = { errorCode: 'request_too_large', errorMessage: 'lower max_tokens to 5' };
      worker.reply(id, null, { ...failure, errorParam });
    };
    const limited = { ...ask, max_output_tokens: 20 };
    for (const stream of [true, false])
      for (const [theirs, param] of [
        ['max_tokens', 'max_output_tokens'],
        ['messages', 'input'],
        ['other', 'other'],
      ] as const) {
        const asked = caught(client.responses.create({ ...limited, stream }));
        await refuse(theirs);
        expect(await asked).toMatchObject({ status: 413, code: 'request_too_large', param });
      }
    const asked = caught(client.responses.create(limited));
    await refuse('max_tokens');
    expect((await asked).message).toContain('lower max_output_tokens to 5');
    const chat = caught(
      client.chat.completions.create({
        model: 'tiny',
        messages: [{ role: 'user', content: 'hi' }],
        max_completion_tokens: 20,
      }),
    );
    await refuse('max_tokens');
    expect(await chat).toMatchObject({ param: 'max_completion_tokens' });
    const text = caught(client.completions.create({ model: 'tiny', prompt: 'hi' }));
    await refuse('messages');
    expect(await text).toMatchObject({ param: 'prompt' });
  });

  it('counts as a completion in the usage of the organization', async () => {
    worker = await new ScriptedWorker(api).connect();
    const start = Math.floor(Date.now() / 86_400_000) * 86_400;
    const used = async (): Promise<number[]> => {
      const { data } = await api.get<UsagePage>(
        `/organization/usage/completions?start_time=${start}`,
      );
      const results = data.flatMap((bucket) => bucket.results);
      const sum = (name: 'output_tokens' | 'num_model_requests'): number =>
        results.reduce((total, result) => total + (result[name] ?? 0), 0);
      return [sum('num_model_requests'), sum('output_tokens')];
    };
    const [requests = 0, tokens = 0] = await used();
    await Promise.all([client.responses.create(ask), say(HI)]);
    await expect.poll(used).toEqual([requests + 1, tokens + 2]);
  });
});

/** Generates a response of 'Hi there'. */
async function made(
  more: Partial<OpenAI.Responses.ResponseCreateParamsNonStreaming> = {},
): Promise<OpenAI.Responses.Response> {
  const [response] = await Promise.all([client.responses.create({ ...ask, ...more }), say(HI)]);
  return response;
}

const storedBytes = async (): Promise<number> =>
  (await api.get<LimitsObject>('/limits')).data.find(({ name }) => name === 'storage_bytes')!.used!;

describe('stored responses', () => {
  it('are returned as they were sent', async () => {
    worker = await new ScriptedWorker(api).connect();
    const whole = await made({ metadata: { team: 'ads' } });
    const answered = say(HI);
    const events = await eventsOf(await client.responses.create({ ...ask, stream: true }));
    await answered;
    const streamed = (events.at(-1) as OpenAI.Responses.ResponseCompletedEvent).response;
    for (const response of [whole, streamed])
      expect(await client.responses.retrieve(response.id)).toEqual({
        ...response,
        output_text: 'Hi there',
      });
    expect(
      await caught(client.responses.retrieve(whole.id, { stream: true } as never)),
    ).toMatchObject({ status: 400, code: 'unsupported', param: 'stream' });
  });

  it('are not stored with store: false, or if the client leaves', async () => {
    worker = await new ScriptedWorker(api).connect();
    const { id, ...rest } = await made({ store: false });
    expect(rest).toMatchObject({ store: false });
    expect(await caught(client.responses.retrieve(id))).toMatchObject({
      status: 404,
      code: 'not_found',
      param: 'response_id',
    });
    const before = await api.query('SELECT 1 FROM response');
    const stream = await Promise.all([
      client.responses.create({ ...ask, stream: true }),
      say([{ text: 'Hi' }]),
    ]).then(([one]) => one);
    stream.controller.abort();
    await until(async () => (await api.query('SELECT 1 FROM answer')).length === 0);
    expect(await api.query('SELECT 1 FROM response')).toEqual(before);
  });

  it('continue a conversation, without the instructions of the previous response', async () => {
    worker = await new ScriptedWorker(api).connect();
    const [first] = await Promise.all([
      client.responses.create({ ...ask, tools, instructions: 'Be brief.' }),
      say(CALLS),
    ]);
    const results = first.output.flatMap((item) =>
      item.type === 'function_call'
        ? [{ type: 'function_call_output' as const, call_id: item.call_id, output: 'sun' }]
        : [],
    );
    const second = await made({ input: results, tools, previous_response_id: first.id });
    const third = await made({ input: 'thanks', previous_response_id: second.id });
    expect(third.previous_response_id).toBe(second.id);
    const [call, other] = results.map(({ call_id }) => call_id);
    const conversation = [
      { role: 'user', content: 'hello?' },
      { role: 'assistant', content: 'I look. ', tool_calls: [{ id: call }, { id: other }] },
      { role: 'tool', tool_call_id: call, content: 'sun' },
      { role: 'tool', tool_call_id: other, content: 'sun' },
      { role: 'assistant', content: 'Hi there' },
      { role: 'user', content: 'thanks' },
    ];
    expect(worker.requests.at(-1)?.messages).toMatchObject(conversation);
    expect(worker.requests.at(-1)?.messages).toHaveLength(conversation.length);

    // The conversation remains when an earlier response is deleted.
    await client.responses.delete(first.id);
    await made({ input: 'bye', previous_response_id: third.id });
    expect(worker.requests.at(-1)?.messages).toMatchObject([
      ...conversation,
      { role: 'assistant', content: 'Hi there' },
      { role: 'user', content: 'bye' },
    ]);
    const gone = { ...ask, previous_response_id: first.id };
    expect(await caught(client.responses.create(gone))).toMatchObject({ status: 404 });
  });

  it('name the input if it is too large together with the conversation', async () => {
    worker = await new ScriptedWorker(api).connect();
    const { id } = await made({ input: 'x'.repeat(600_000) });
    const more = { ...ask, input: 'y'.repeat(600_000), previous_response_id: id };
    expect(await caught(client.responses.create(more))).toMatchObject({
      status: 413,
      code: 'request_too_large',
      param: 'input',
      message: expect.stringContaining('input with the previous responses') as unknown,
    });
  });

  it('list the items that they answer in pages, newest first', async () => {
    worker = await new ScriptedWorker(api).connect();
    const first = await made({ input: [{ role: 'developer', content: 'Rhyme.' }, { role: 'user', content: 'hello?' }] }); // prettier-ignore
    const { id } = await made({ input: 'again', previous_response_id: first.id });
    const items = [];
    for await (const item of client.responses.inputItems.list(id, { limit: 2 })) items.push(item);
    const message = (role: string, type: string, text: string): object => ({
      type: 'message',
      role,
      status: 'completed',
      content: [{ type, text }],
    });
    const expected = [
      message('user', 'input_text', 'again'),
      message('assistant', 'output_text', 'Hi there'),
      message('user', 'input_text', 'hello?'),
      message('developer', 'input_text', 'Rhyme.'),
    ];
    expect(items).toMatchObject(expected);
    expect(new Set(items.map((item) => item.id)).size).toBe(4);
    const list = (query: object) => client.responses.inputItems.list(id, query as never);
    expect((await list({ order: 'asc', limit: 1 })).data).toMatchObject([expected[3]]);
    expect((await list({ order: 'asc', after: items[1]!.id })).data).toMatchObject([expected[0]]);
    for (const [query, param] of [
      [{ limit: 101 }, 'limit'],
      [{ order: 'up' }, 'order'],
      [{ after: 'msg_none' }, 'after'],
    ] as const)
      expect(await caught(list(query))).toMatchObject({ status: 400, param });
  });

  it('are deleted on request, and after their time', async () => {
    worker = await new ScriptedWorker(api).connect();
    const before = await storedBytes();
    const [one, two, three] = [await made(), await made(), await made()];
    await until(async () => (await storedBytes()) > before);
    await client.responses.delete(one.id);
    expect(await caught(client.responses.delete(one.id))).toMatchObject({ status: 404 });
    await api.query(
      `UPDATE response SET created_at = created_at - interval '31 days' WHERE id = $1`,
      [two.id],
    );
    await until(
      async () => (await api.query('SELECT 1 FROM response WHERE id = $1', [two.id])).length === 0,
    );
    await client.responses.retrieve(three.id);
    await client.responses.delete(three.id);
    expect(await storedBytes()).toBe(before);
  });

  it('are stored as failed if a stream is cut', async () => {
    const [created] = await eventsOfCutStream();
    const { response } = created as OpenAI.Responses.ResponseCreatedEvent;
    expect(await client.responses.retrieve(response.id)).toMatchObject({
      status: 'failed',
      error: { code: 'server_error' },
      output: [{ status: 'incomplete', content: [{ text: 'Hi' }] }],
    });
  });

  it('need space in the storage of their project, unlike those with store: false', async () => {
    worker = await new ScriptedWorker(api).connect();
    const limit = (bytes: number | null) =>
      api.query('UPDATE project SET limits = $1', [bytes === null ? {} : { storage_bytes: bytes }]);
    await limit(1);
    try {
      expect(await caught(client.responses.create(ask))).toMatchObject({
        code: 'insufficient_quota',
      });
      await made({ store: false });
    } finally {
      await limit(null);
    }
  });
});
