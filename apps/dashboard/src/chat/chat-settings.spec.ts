import { expect, it } from 'vitest';
import { chatBody, DEFAULTS, settingsProblem } from './chat-settings.js';

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
  expect(problem({ schema: '[1]' })).toMatchObject({ param: 'schema' });
  expect(problem({ schema: '{"type":"object"}' })).toBeNull();
});

it('builds the request body', () => {
  const turns = [
    { role: 'user' as const, content: 'hi' },
    { role: 'assistant' as const, content: '' },
  ];
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
    schema: '{"type":"object"}',
  };
  expect(chatBody('m', turns, settings)).toMatchObject({
    messages: [{ role: 'system', content: 'be brief' }, { role: 'user' }],
    top_p: 0.9,
    max_tokens: 99,
    seed: 3,
    stop: ['END'],
    response_format: { type: 'json_schema', json_schema: { schema: { type: 'object' } } },
  });
});
