// Tools in chats, with a whole installation, the official SDK, and a base model with Qwen 2.5's chat
// template.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Installation, until } from './installation.js';

/** Chat template of Qwen2.5-7B-Instruct, as published. */
const QWEN = String.raw`{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- message.content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
`;

const BOOK = fileURLToPath(new URL('../../examples/tiny-base', import.meta.url));

let graft: Installation;
beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await imported('qwen', QWEN);
  await imported('mistral', '{% if tools %}[AVAILABLE_TOOLS]{% endif %}{{ messages[0].content }}');
  await imported('plain', '{{ messages[0].content }}');
  await until('the worker to be connected', async () => {
    const overview = await graft.openai.get('/overview');
    return (overview as { workers_online: number }).workers_online === 1;
  });
});
afterAll(() => graft.stop());

/** Imports the small base of the examples with another chat template. Its output rarely makes sense. */
async function imported(id: string, template: string): Promise<void> {
  const dir = join(graft.dir, id);
  mkdirSync(dir);
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json'])
    cpSync(join(BOOK, name), join(dir, name));
  const path = join(BOOK, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  const changed = { ...config, chat_template: template };
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify(changed));
  await graft.openai.post('/models', { body: { id, source: `dir:${dir}` } });
  await until('the base to be ready', async () => {
    const { graft: found } = (await graft.openai.get(`/models/${id}`)) as {
      graft: { status: string; status_details?: string };
    };
    if (found.status === 'error') throw new Error(found.status_details);
    return found.status === 'ready';
  });
}

const { Ajv2020 } = createRequire(new URL('../../apps/api/package.json', import.meta.url))(
  'ajv/dist/2020.js',
) as { Ajv2020: new () => { validate(schema: object, value: unknown): boolean } };
const ajv = new Ajv2020();

const weather = {
  type: 'object',
  properties: {
    city: { enum: ['Bonn', 'Köln'] },
    days: { type: 'integer', minimum: 1, maximum: 9 },
  },
  required: ['city', 'days'],
};
const tool = (name: string, parameters?: Record<string, unknown>): OpenAI.ChatCompletionTool => ({
  type: 'function',
  function: { name, description: 'Says it', ...(parameters && { parameters }) },
});
const ask = {
  model: 'qwen',
  messages: [{ role: 'user' as const, content: 'How will the weather be?' }],
  tools: [tool('weather', weather), tool('time')],
  temperature: 1,
  max_completion_tokens: 120,
};
type Ask = OpenAI.ChatCompletionCreateParamsNonStreaming;
const chat = async (more: Partial<Ask> = {}) => {
  const { choices, usage } = await graft.openai.chat.completions.create({ ...ask, ...more });
  const [{ message, finish_reason } = {}] = choices;
  const calls = (message?.tool_calls ?? []) as OpenAI.ChatCompletionMessageFunctionToolCall[];
  return { message, finish_reason, calls, usage };
};

it.each([1, 2, 3, 4])(
  'a required call is one, and its arguments are valid: seed %i',
  async (seed) => {
    const { message, finish_reason, calls } = await chat({ tool_choice: 'required', seed });
    expect(finish_reason).toBe('tool_calls');
    expect(message?.content).toBeNull();
    expect(calls).toHaveLength(1);
    const [call] = calls;
    expect(call).toMatchObject({
      id: expect.stringMatching(/^call_/) as unknown,
      type: 'function',
    });
    const given = JSON.parse(call?.function.arguments ?? '') as unknown;
    if (call?.function.name === 'time') expect(given).toEqual({});
    else expect(ajv.validate(weather, given), call?.function.arguments).toBe(true);
  },
);

it('makes a required call to a tool without parameters', async () => {
  const tools = [tool('note', {})];
  const { message, finish_reason, calls } = await chat({ tools, tool_choice: 'required', seed: 1, max_completion_tokens: 400 }); // prettier-ignore
  // A truncated call is returned as text; a complete one has an object as arguments.
  if (finish_reason === 'length') return expect(message?.content).toMatch(/"arguments": \{/);
  expect(finish_reason).toBe('tool_calls');
  expect(JSON.parse(calls[0]?.function.arguments ?? '')).toBeTypeOf('object');
});

it('calls the tool that tool_choice names, streamed or not', async () => {
  const tool_choice = { type: 'function' as const, function: { name: 'weather' } };
  const { calls } = await chat({ tool_choice, seed: 5 });
  expect(calls.map((call) => call.function.name)).toEqual(['weather']);
  const stream = await graft.openai.chat.completions.create({ ...ask, tool_choice, seed: 5, stream: true }); // prettier-ignore
  const deltas: OpenAI.ChatCompletionChunk.Choice.Delta.ToolCall[] = [];
  let reason: string | null = null;
  for await (const { choices } of stream) {
    expect(choices[0]?.delta.content ?? '').toBe('');
    deltas.push(...(choices[0]?.delta.tool_calls ?? []));
    reason = choices[0]?.finish_reason ?? reason;
  }
  expect(deltas).toEqual([
    { index: 0, id: expect.any(String) as unknown, type: 'function', function: calls[0]?.function },
  ]);
  expect(reason).toBe('tool_calls');
});

it('answers with text if the call is optional and the model makes none', async () => {
  const seeds = Array.from({ length: 6 }, (_, seed) => seed);
  const answers = await Promise.all(seeds.map((seed) => chat({ max_completion_tokens: 8, seed })));
  for (const { calls, finish_reason } of answers) {
    expect(calls).toEqual([]);
    expect(['stop', 'length']).toContain(finish_reason);
  }
  expect(answers.map(({ message }) => message?.content).join('')).not.toBe('');
});

it('adds tools, calls and their results to the prompt', async () => {
  const tokens = async (more: Partial<Ask>) =>
    (await chat({ max_completion_tokens: 1, ...more })).usage?.prompt_tokens ?? 0;
  const bare = await tokens({ tool_choice: 'none' });
  expect(await tokens({})).toBeGreaterThan(bare + 50);
  const call = { id: 'call_1', type: 'function' as const, function: { name: 'weather', arguments: '{"city":"Bonn","days":1}' } }; // prettier-ignore
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    ...ask.messages,
    { role: 'assistant', content: null, tool_calls: [call] },
    { role: 'tool', tool_call_id: 'call_1', content: 'It will rain.' },
  ];
  expect(await tokens({ messages, tool_choice: 'none' })).toBeGreaterThan(bare + 20);
});

it.each([
  ['plain', 'does not support tools'],
  ['mistral', 'a tool-call format that is not supported'],
])('rejects a model without tools, or with an unknown format of calls: %s', (model, message) =>
  expect(chat({ model })).rejects.toMatchObject({
    status: 400,
    code: 'unsupported',
    message: expect.stringContaining(message) as unknown,
  }),
);

it.each<[Partial<Ask>, string, string]>([
  [{ tools: [tool('f', { oneOf: [] })], tool_choice: 'required' }, 'tools.0.function.parameters.oneOf', 'use anyOf'],
  [{ tools: [tool('f', { type: 'array' })], tool_choice: 'required' }, 'tools.0.function.parameters.type', 'a schema of objects'],
  [{ tools: [], tool_choice: 'required' }, 'tool_choice', 'requires tools'],
  [{ tool_choice: { type: 'function', function: { name: 'other' } } }, 'tool_choice.function.name', 'tools has no function named other'],
  [{ tools: [tool('f'), tool('f')] }, 'tools', 'unique names'],
  [{ response_format: { type: 'json_object' } }, 'response_format', 'together with tools'],
])('rejects %j at %s', (more, param, message) =>
  expect(chat(more)).rejects.toMatchObject({
    status: 400,
    param,
    message: expect.stringContaining(message) as unknown,
  }),
); // prettier-ignore

it('rejects parameters that are too large, even if the call is optional', () =>
  expect(chat({ tools: [tool('f', { description: 'a'.repeat(130_000) })] })).rejects.toMatchObject({
    status: 413,
    code: 'request_too_large',
    param: 'tools.0.function.parameters',
  }));

it('holds the arguments of a call in a response to the schema', async () => {
  const { output } = await graft.openai.responses.create({
    model: 'qwen',
    input: 'How will the weather be?',
    tools: [{ type: 'function', name: 'weather', parameters: weather, strict: true }],
    tool_choice: 'required',
    max_output_tokens: 120,
  });
  expect(output).toMatchObject([{ type: 'function_call', name: 'weather', status: 'completed' }]);
  const [call] = output as OpenAI.Responses.ResponseFunctionToolCall[];
  expect(ajv.validate(weather, JSON.parse(call?.arguments ?? '')), call?.arguments).toBe(true);
});

it('holds the text of a response to text.format, streamed by the SDK', async () => {
  const format = { type: 'json_schema' as const, name: 'weather', schema: weather, strict: true };
  const stream = graft.openai.responses.stream({
    model: 'qwen',
    input: 'How will the weather be?',
    text: { format },
    max_output_tokens: 200,
  });
  const { status, output_text: text } = await stream.finalResponse();
  expect(status).toBe('completed');
  expect(ajv.validate(weather, JSON.parse(text)), text).toBe(true);
});
