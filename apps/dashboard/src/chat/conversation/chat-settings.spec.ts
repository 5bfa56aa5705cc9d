import { expect, it } from 'vitest';
import { changes, chatBody, DEFAULTS, settingsProblem, toolsOf } from './chat-settings.js';

it('reports the first invalid setting', () => {
  const problem = (changes: object) => settingsProblem({ ...DEFAULTS, ...changes });
  expect(problem({})).toBeNull();
  expect(problem({ temperature: '', top_p: '', max_tokens: '', seed: '7' })).toBeNull();
  expect(problem({ temperature: '3' })).toMatchObject({ param: 'temperature' });
  expect(problem({ max_tokens: '1.5' })).toMatchObject({
    message: expect.stringContaining('whole') as unknown,
  });
  expect(problem({ seed: 'x' })).toMatchObject({ param: 'seed' });
  expect(problem({ stop: 'a\nb\nc\nd\ne' })).toMatchObject({ param: 'stop' });
  expect(problem({ format: 'schema', schema: '[1]' })).toMatchObject({ param: 'schema' });
  expect(problem({ format: 'schema', schema: '{"type":"object"}' })).toBeNull();
  expect(problem({ schema: 'kept, but not used' })).toBeNull();
  expect(problem({ tools: '{"name":"f"}' })).toBeNull();
  expect(problem({ tools: '[{"name":"f"}, {}]' })).toMatchObject({
    param: 'tools',
    message: 'every function needs a name',
  });
  expect(problem({ tools: 'f()' })).toMatchObject({ param: 'tools' });
  expect(problem({ tools: '{"name":"f"}', format: 'json' })).toMatchObject({ param: 'tools' });
});

it('builds the request body', () => {
  const turns = [{ role: 'user' as const, content: 'hi' }];
  expect(chatBody('m', turns, DEFAULTS)).toEqual({
    model: 'm',
    messages: [{ role: 'user', content: 'hi' }],
    temperature: 0,
  });
  const settings = {
    ...DEFAULTS,
    max_tokens: '99',
    system: ' be brief ',
    top_p: '0.9',
    seed: '3',
    stop: 'END\n\n',
    format: 'schema' as const,
    schema: '{"type":"object"}',
    logprobs: true,
  };
  expect(chatBody('m', turns, settings)).toMatchObject({
    messages: [{ role: 'system', content: 'be brief' }, { role: 'user' }],
    top_p: 0.9,
    max_tokens: 99,
    seed: 3,
    stop: ['END'],
    response_format: { type: 'json_schema', json_schema: { schema: { type: 'object' } } },
    logprobs: true,
    top_logprobs: 5,
  });
  expect(changes(settings)).toBe(7);
});

it('reads tools with and without their type', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }];
  for (const text of ['{"name":"f"}', '[{"name":"f"}]', JSON.stringify(tools)])
    expect(toolsOf(text)).toEqual(tools);
  for (const text of ['', '1', '[1]', '{"type":"function"}']) expect(toolsOf(text)).toBeNull();
  const settings = { ...DEFAULTS, tools: '{"name":"f"}', toolChoice: 'required' as const };
  expect(chatBody('m', [], settings)).toMatchObject({ tools, tool_choice: 'required' });
  expect(chatBody('m', [], DEFAULTS)).not.toHaveProperty('tools');
});
