import { describe, expect, it } from 'vitest';
import { DomainError } from '../../http/errors.js';
import { joinedAnswer, readAnswer, readRequest, type GenerateAnswer } from './index.js';

const REQUEST = {
  messages: [{ role: 'user', content: 'hello', name: 'kept' }],
  prompt: null,
  max_tokens: 5,
  temperature: 0,
  top_p: 1,
  seed: 1,
  stop: [],
};

function refusal(work: () => unknown): Pick<DomainError, 'code' | 'param'> {
  try {
    work();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a request to a model', () => {
  it('keeps the fields of its schema, and all fields of a message', () => {
    expect(readRequest('generate', { ...REQUEST, stream: true })).toEqual(REQUEST);
  });

  it.each([
    [
      { ...REQUEST, max_tokens: 0 },
      { code: 'invalid_value', param: 'max_tokens' },
    ],
    [
      { ...REQUEST, messages: [{}] },
      { code: 'missing_required_parameter', param: 'messages.0.role' },
    ],
    [
      { ...REQUEST, stop: ['a', 'b', 'c', 'd', 'e'] },
      { code: 'invalid_value', param: 'stop' },
    ],
    [{ ...REQUEST, response_format: { type: 'xml' } }, { code: 'invalid_value' }],
  ])('is rejected with the name of the field: %j', (request, error) => {
    expect(refusal(() => readRequest('generate', request))).toMatchObject(error);
  });
});

describe('response chunks', () => {
  const piece = (more: Partial<GenerateAnswer>): GenerateAnswer => ({
    text: '',
    finish_reason: null,
    prompt_tokens: 3,
    completion_tokens: 1,
    ...more,
  });
  const token = { token: 'a', bytes: [97], logprob: -1, start: 0, top: [] };
  const call = { name: 'find', arguments: '{}' };

  it('are merged: text and lists are concatenated, other fields come from the last chunk', () => {
    const pieces = [
      piece({ text: 'a', logprobs: [token] }),
      piece({ text: 'b', completion_tokens: 2, tool_calls: [call] }),
      piece({ completion_tokens: 3, finish_reason: 'stop', logprobs: [token, token] }),
    ];
    expect(joinedAnswer<'generate'>(pieces)).toEqual(
      piece({
        text: 'ab',
        finish_reason: 'stop',
        completion_tokens: 3,
        logprobs: [token, token, token],
        tool_calls: [call],
      }),
    );
    expect(joinedAnswer([])).toBeNull();
  });

  it('are rejected if they do not match the schema of their kind', () => {
    const infer = { answers: [1], prompt_tokens: 3 };
    expect(readAnswer('infer', infer)).toEqual(infer);
    expect(refusal(() => readAnswer('generate', infer))).toMatchObject({ param: 'text' });
    expect(refusal(() => readAnswer('infer', { ...infer, prompt_tokens: 2 ** 32 }))).toMatchObject({
      param: 'prompt_tokens',
    });
  });
});
