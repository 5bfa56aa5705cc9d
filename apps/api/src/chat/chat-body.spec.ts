import { DomainError, parseBody } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { ChatBody, CompletionBody, parseCompletion } from './chat-body.js';

const ENDPOINTS = {
  chat: { schema: ChatBody, least: { model: 'm', messages: [{ role: 'user', content: 'hi' }] } },
  text: { schema: CompletionBody, least: { model: 'm', prompt: 'hi' } },
} as const;
type Endpoint = keyof typeof ENDPOINTS;

function refusal(endpoint: Endpoint, more: object): DomainError | null {
  const { schema, least } = ENDPOINTS[endpoint];
  try {
    parseBody(schema, { ...least, ...more });
    return null;
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

const TOOL = { type: 'function', function: { name: 'f' } };
const CALL = { id: 'call_1', type: 'function', function: { name: 'f', arguments: '{}' } };
const said = (message: object): object => ({
  messages: [{ role: 'user', content: 'hi' }, message],
});

const schema = (one: object): object => ({
  response_format: { type: 'json_schema', json_schema: { name: 'it', schema: one, strict: true } },
});

/** Unsupported fields: endpoint, field, values with an effect, values without effect. */
const NOT_DONE: readonly (readonly [Endpoint, string, unknown[], unknown[]])[] = [
  ['chat', 'functions', [[{ name: 'f' }]], [[]]],
  ['chat', 'function_call', [{ name: 'f' }], ['none', 'auto']],
  ['chat', 'presence_penalty', [0.5], [0]],
  ['chat', 'frequency_penalty', [-1], [0]],
  ['chat', 'logit_bias', [{ '50256': -100 }], [{}]],
  ['chat', 'n', [2], [1]],
  ['chat', 'modalities', [['text', 'audio']], [['text']]],
  ['chat', 'audio', [{ voice: 'ash', format: 'mp3' }], []],
  ['chat', 'moderation', [{ model: 'm' }], []],
  ['chat', 'web_search_options', [{}], []],
  ['chat', 'reasoning_effort', ['high'], ['none']],
  ['chat', 'verbosity', ['low'], ['medium']],
  ['chat', 'store', [true], [false]],
  ['chat', 'service_tier', ['flex'], ['auto', 'default']],
  ['text', 'echo', [true], [false]],
  ['text', 'suffix', ['the end'], ['']],
  ['text', 'presence_penalty', [0.5], [0]],
  ['text', 'frequency_penalty', [0.5], [0]],
  ['text', 'logit_bias', [{ '1': 1 }], [{}]],
];

/** Fields about the caller or performance, which are accepted with any value. */
const TAKEN: readonly (readonly [Endpoint, object])[] = [
  ['chat', { user: 'u-1', safety_identifier: 's-1' }],
  ['chat', { metadata: { team: 'ads' } }],
  ['chat', { prompt_cache_key: 'k', prompt_cache_options: {}, prompt_cache_retention: '24h' }],
  ['chat', { prediction: { type: 'content', content: 'hi' } }],
  ['chat', { stream: true, stream_options: { include_usage: true, include_obfuscation: false } }],
  ['chat', { max_completion_tokens: 5, stop: ['a', 'b'], seed: 1, top_p: 0.5, temperature: 0 }],
  [
    'chat',
    said({ role: 'assistant', content: 'yes', refusal: null, annotations: [], tool_calls: [] }),
  ],
  ['chat', said({ role: 'user', content: [{ type: 'text', text: 'one' }] })],
  ['text', { user: 'u-1', stop: 'a', max_tokens: 5, stream: false }],
  ['chat', { graft: { task_ids: 2 } }],
  ['text', { graft: { task_ids: 0 } }],
  ['chat', { graft: { task_ids: null } }],
  ['chat', { graft: null }],
  ['chat', { logprobs: true, top_logprobs: 20 }],
  ['chat', { logprobs: false, top_logprobs: 0 }],
  ['text', { logprobs: 5 }],
  ['chat', { response_format: { type: 'text' } }],
  ['chat', { tools: [TOOL], tool_choice: 'required', parallel_tool_calls: false }],
  ['chat', { tools: [], tool_choice: 'auto' }],
  ['chat', { tools: [TOOL], tool_choice: TOOL }],
  ['chat', said({ role: 'assistant', content: null, tool_calls: [CALL] })],
  ['chat', said({ role: 'tool', content: 'it is 5', tool_call_id: 'call_1' })],
  ['chat', { response_format: { type: 'json_object' } }],
  ['chat', { response_format: null }],
  ['chat', schema({ type: 'object', properties: { a: { type: 'string' } }, required: ['a'] })],
];

/** Fields that do not exist in the API. */
const UNKNOWN: readonly (readonly [Endpoint, object, string])[] = [
  ['chat', { foo: 1 }, 'foo'],
  ['chat', { top_k: 40 }, 'top_k'],
  ['chat', { stream_options: { bar: 1 } }, 'stream_options.bar'],
  ['chat', { graft: { task_id: 1 } }, 'graft.task_id'],
  ['chat', said({ role: 'user', content: 'x', mood: 'sad' }), 'messages.1.mood'],
  ['text', { max_completion_tokens: 5 }, 'max_completion_tokens'],
  ['text', { messages: [] }, 'messages'],
];

describe.each(NOT_DONE)('%s completions with %s', (endpoint, field, asking, neutral) => {
  it.each(asking.map((value) => [value]))('rejects %j and names the field', (value) => {
    const error = refusal(endpoint, { [field]: value });
    expect(error).toMatchObject({ code: 'unsupported', param: field });
    expect(error?.message).toMatch(new RegExp(`^${field}: .{10,}`));
  });

  it.each([...neutral, null].map((value) => [value]))('accepts %j, which has no effect', (value) =>
    expect(refusal(endpoint, { [field]: value })).toBeNull(),
  );
});

describe('completions', () => {
  it.each(TAKEN)('for %s accepts %j', (endpoint, more) =>
    expect(refusal(endpoint, more)).toBeNull(),
  );

  it.each(UNKNOWN)('for %s rejects %j', (endpoint, more, param) =>
    expect(refusal(endpoint, more)).toMatchObject({ code: 'unknown_parameter', param }),
  );

  it.each([
    [said({ role: 'assistant', function_call: { name: 'f' } }), 'messages.1.function_call'],
    [said({ role: 'user', content: 'x', name: 'Ann' }), 'messages.1.name'],
    [
      { stream: true, stream_options: { include_obfuscation: true } },
      'stream_options.include_obfuscation',
    ],
  ])('for chat rejects %j and names the alternative', (more, param) =>
    expect(refusal('chat', more)).toMatchObject({ code: 'unsupported', param }),
  );

  it('generates n texts of each prompt, with consecutive seeds', () => {
    const { groups, best } = parseCompletion({ model: 'm', prompt: ['a', 'b'], n: 2, seed: 7 });
    expect(best).toBe(2);
    expect(groups.map((group) => group.map(({ prompt, seed }) => [prompt, seed]))).toEqual([
      [
        ['a', 7],
        ['a', 8],
      ],
      [
        ['b', 7],
        ['b', 8],
      ],
    ]);
  });

  it.each([
    [{ n: 3, best_of: 2 }, 'best_of', 'at least n (3), got 2'],
    [{ n: 2, best_of: 3, stream: true }, 'best_of', 'cannot be streamed'],
    [{ prompt: Array(10).fill('a'), best_of: 20 }, 'best_of', 'at most 128 texts'],
    [
      { prompt: Array(65).fill('a'), n: 2 },
      'n',
      'at most 128 texts for all prompts together, got 130',
    ],
    [{ prompt: [] }, 'prompt', 'must not be empty'],
    [{ prompt: ['a', 5] }, 'prompt', 'must be a string, got 5'],
    [{ n: 0 }, 'n', 'at least 1'],
    [{ n: 129 }, 'n', 'at most 128'],
  ])('for text rejects the choices %j', (more, param, message) => {
    const refused = (): unknown => parseCompletion({ model: 'm', prompt: 'a', ...more });
    expect(refused).toThrow(
      expect.objectContaining({ code: 'invalid_value', param: expect.stringMatching(`^${param}`) }),
    );
    expect(refused).toThrow(message);
  });

  it('names the part of a message that is not text', () => {
    const image = { type: 'image_url', image_url: { url: 'data:' } };
    expect(refusal('chat', said({ role: 'user', content: [image] }))).toMatchObject({
      param: 'messages.1.content.0.type',
      message: expect.stringContaining('only text'),
    });
  });

  it.each([
    ['chat', { logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    ['chat', { logprobs: 3 }, 'logprobs'],
    ['text', { logprobs: 6 }, 'logprobs'],
    ['text', { logprobs: true }, 'logprobs'],
  ] as const)('for %s rejects %j', (endpoint, more, param) =>
    expect(refusal(endpoint, more)).toMatchObject({ code: 'invalid_value', param }),
  );

  it.each([
    [
      schema({ properties: { a: { oneOf: [] } } }),
      'unsupported',
      'properties.a.oneOf',
      'use anyOf',
    ],
    [schema({ type: 'string', minLength: -1 }), 'invalid_value', 'minLength', 'integer ≥ 0'],
    [schema({ $ref: '#' }), 'invalid_value', '$ref', 'refers to itself'],
  ])('for chat rejects a schema and names its keyword: %j', (more, code, path, message) => {
    const param = `response_format.json_schema.schema.${path}`;
    const error = refusal('chat', more);
    expect(error).toMatchObject({ code, param });
    expect(error?.message).toMatch(`${param}: `);
    expect(error?.message).toContain(message);
  });

  it('for chat rejects a format without its schema or with an unknown name', () => {
    const of = (format: object) => refusal('chat', { response_format: format });
    expect(of({ type: 'json_schema', json_schema: { name: 'it' } })).toMatchObject({
      param: 'response_format.json_schema.schema',
    });
    expect(of({ type: 'json_schema', json_schema: { name: 'a b', schema: {} } })).toMatchObject({
      param: 'response_format.json_schema.name',
    });
    expect(of({ type: 'grammar' })).toMatchObject({ param: 'response_format.type' });
  });

  it('rejects an empty stop sequence, which would end every answer immediately', () =>
    expect(refusal('chat', { stop: [''] })).toMatchObject({ param: 'stop.0' }));
});
