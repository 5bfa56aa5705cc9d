import { DomainError, parseBody } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { ResponseBody, responseRequest, type ParsedResponse } from './response-body.js';

const parsed = (more: object): ParsedResponse =>
  responseRequest(parseBody(ResponseBody, { model: 'm', input: 'hi', ...more }), []);

function refusal(more: object): DomainError {
  try {
    parsed(more);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

const FUNCTION = { type: 'function', name: 'f', parameters: null, strict: true };
const CALL = { type: 'function_call', call_id: 'call_1', name: 'f', arguments: '{}' };
const SCHEMA = { type: 'object', properties: { a: { type: 'boolean' } }, required: ['a'] };

/** Unsupported fields: values with an effect, values without effect. */
const NOT_DONE: readonly (readonly [string, unknown[], unknown[]])[] = [
  ['conversation', ['conv_1', { id: 'conv_1' }], []],
  ['prompt', [{ id: 'pmpt_1' }], []],
  ['reasoning', [{ effort: 'low' }, { summary: 'auto' }], [{ effort: 'none' }, {}]],
  ['context_management', [[{ type: 'compaction' }]], [[]]],
  ['max_tool_calls', [3], []],
  ['moderation', [{ model: 'm' }], []],
  ['service_tier', ['flex'], ['auto', 'default']],
  ['stream_options', [{ include_obfuscation: true }], [{ include_obfuscation: false }, {}]],
];

describe('the body of a response', () => {
  it.each(NOT_DONE)('rejects %s by name, unless its value has no effect', (field, bad, neutral) => {
    for (const value of bad)
      expect(refusal({ [field]: value })).toMatchObject({ code: 'unsupported', param: field });
    for (const value of [...neutral, null]) expect(() => parsed({ [field]: value })).not.toThrow();
  });

  it.each([
    [{ tools: [{ type: 'web_search', search_context_size: 'low' }] }, 'tools.0.type', 'web_search'],
    [{ tools: [{ type: 'file_search', vector_store_ids: [] }] }, 'tools.0.type', 'file_search'],
    [{ tools: [{ type: 'mcp', server_label: 'x' }] }, 'tools.0.type', 'mcp'],
    [
      { tools: [FUNCTION], tool_choice: { type: 'mcp', server_label: 'x' } },
      'tool_choice.type',
      'mcp',
    ],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input.0.type', 'item_reference'],
    [{ input: [{ type: 'reasoning', id: 'rs_1', summary: [] }] }, 'input.0.type', 'reasoning'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'https://x' }] }] },
      'input.0.content.0.type',
      'input_image',
    ],
    [{ include: ['file_search_call.results'] }, 'include.0', 'file_search_call.results'],
    [{ text: { verbosity: 'low' } }, 'text.verbosity', 'verbosity'],
  ])('names what it does not support: %j', (more, param, name) => {
    const error = refusal(more);
    expect(error.param).toBe(param);
    expect(error.message).toContain(name);
  });

  it('names its own fields in errors about tools', () => {
    const tools = [{ ...FUNCTION, parameters: { type: 'object', not: {} } }];
    expect(refusal({ tools, tool_choice: 'required' }).param).toMatch(/^tools\.0\.parameters/);
    expect(
      refusal({ tools: [FUNCTION], tool_choice: { type: 'function', name: 'g' } }),
    ).toMatchObject({
      code: 'invalid_value',
      param: 'tool_choice.name',
    });
    const format = { type: 'json_object' };
    expect(refusal({ tools: [FUNCTION], text: { format } })).toMatchObject({
      code: 'unsupported',
      param: 'text.format',
    });
    expect(refusal({ tools: [FUNCTION, FUNCTION] }).param).toBe('tools');
  });

  it.each([[{}], [{ input: [] }], [{ input: 3 }]])('rejects %j as input', (input) => {
    expect(() => parseBody(ResponseBody, { model: 'm', ...input })).toThrow(DomainError);
  });

  it('turns items into messages of a chat', () => {
    const { request } = parsed({
      instructions: 'Be brief.',
      input: [
        { role: 'developer', content: 'In German.' },
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }, { type: 'input_text', text: 'b' }] }, // prettier-ignore
        {
          type: 'message',
          id: 'msg_1',
          status: 'completed',
          role: 'assistant',
          content: [{ type: 'output_text', text: 'I look.', annotations: [], logprobs: [] }],
        },
        { ...CALL, id: 'fc_1', status: 'completed' },
        { ...CALL, call_id: 'call_2' },
        { type: 'function_call_output', call_id: 'call_1', output: 'sun' },
        { type: 'function_call_output', call_id: 'call_2', output: [{ type: 'input_text', text: 'rain' }] }, // prettier-ignore
      ],
    });
    const call = (id: string) => ({
      id,
      type: 'function',
      function: { name: 'f', arguments: '{}' },
    });
    expect(request.messages).toEqual([
      { role: 'system', content: 'Be brief.\n\nIn German.' },
      { role: 'user', content: 'ab' },
      { role: 'assistant', content: 'I look.', tool_calls: [call('call_1'), call('call_2')] },
      { role: 'tool', content: 'sun', tool_call_id: 'call_1' },
      { role: 'tool', content: 'rain', tool_call_id: 'call_2' },
    ]);
  });

  it('keeps system messages within the conversation where they are', () => {
    const { request } = parsed({
      input: [
        { role: 'system', content: 'a' },
        { role: 'developer', content: 'b' },
        { role: 'user', content: 'c' },
        { role: 'developer', content: 'd' },
      ],
    });
    expect(request.messages).toEqual([
      { role: 'system', content: 'a\n\nb' },
      { role: 'user', content: 'c' },
      { role: 'system', content: 'd' },
    ]);
  });

  it('passes on limits, sampling, format, tools and log-probabilities', () => {
    const format = { type: 'json_schema', name: 'it', schema: SCHEMA, strict: true };
    expect(
      parsed({ max_output_tokens: 7, temperature: 0.5, top_p: 0.9, text: { format } }),
    ).toMatchObject({
      limit: { tokens: 7, param: 'max_output_tokens' },
      request: {
        max_tokens: 7,
        may_lower_max_tokens: false,
        temperature: 0.5,
        top_p: 0.9,
        tools: null,
        top_logprobs: null,
        response_format: { type: 'json_schema', schema: SCHEMA },
      },
    });
    expect(parsed({ truncation: 'auto' }).request.truncation).toBe('auto');
    expect(parsed({ truncation: 'disabled' }).request.truncation).toBeNull();
    expect(parsed({})).toMatchObject({
      limit: null,
      request: { max_tokens: 4096, may_lower_max_tokens: true },
    });
    const tools = [{ ...FUNCTION, description: 'does', parameters: SCHEMA }];
    const { request, singleToolCall } = parsed({ tools, tool_choice: { type: 'function', name: 'f' }, parallel_tool_calls: false }); // prettier-ignore
    expect(singleToolCall).toBe(true);
    expect(request.tools).toEqual({
      tools: [
        { type: 'function', function: { name: 'f', description: 'does', parameters: SCHEMA } },
      ],
      choice: { name: 'f' },
    });
    const include = ['message.output_text.logprobs'];
    expect(parsed({ include }).request.top_logprobs).toBe(0);
    expect(parsed({ include, top_logprobs: 3 }).request.top_logprobs).toBe(3);
    expect(parsed({ top_logprobs: 2 }).request.top_logprobs).toBe(2);
    expect(parsed({ top_logprobs: 0 }).request.top_logprobs).toBeNull();
  });
});
