import { expect, it } from 'vitest';
import { historyOf, openCalls, withoutLast, withReplies, type Exchange } from './exchange.js';

const CALL = { id: 'call_1', name: 'weather', arguments: '{"city":"Oslo"}' };
const EXCHANGES: readonly Exchange[] = [
  {
    user: 'Weather in Oslo?',
    sides: [
      [
        { role: 'assistant', content: '', calls: [CALL] },
        { role: 'tool', call: 'call_1', content: '4 °C' },
        { role: 'assistant', content: 'Cold.' },
      ],
      [{ role: 'assistant', content: '', problem: { message: 'x', code: null, again: true } }],
    ],
  },
  { user: 'Thanks', sides: [[], []] },
];

it('builds the messages of each model, with its calls and their results', () => {
  expect(historyOf(EXCHANGES, 0)).toEqual([
    { role: 'user', content: 'Weather in Oslo?' },
    {
      role: 'assistant',
      content: '',
      tool_calls: [
        {
          id: 'call_1',
          type: 'function',
          function: { name: 'weather', arguments: '{"city":"Oslo"}' },
        },
      ],
    },
    { role: 'tool', tool_call_id: 'call_1', content: '4 °C' },
    { role: 'assistant', content: 'Cold.' },
    { role: 'user', content: 'Thanks' },
  ]);
});

it('leaves out answers that failed', () => {
  expect(historyOf(EXCHANGES, 1).map(({ content }) => content)).toEqual([
    'Weather in Oslo?',
    'Thanks',
  ]);
});

it('finds calls that wait for results', () => {
  const [replies = []] = EXCHANGES[0]!.sides;
  expect(openCalls(replies)).toEqual([]);
  expect(openCalls(replies.slice(0, 1))).toEqual([CALL]);
  expect(openCalls(replies.slice(0, 2))).toEqual([]);
});

it('changes only the last exchange, and removes only an answer', () => {
  const answer = { role: 'assistant' as const, content: 'Welcome.' };
  const after = withReplies(EXCHANGES, 1, () => [answer]);
  expect(after[0]).toBe(EXCHANGES[0]);
  expect(after[1]?.sides).toEqual([[], [answer]]);
  expect(withoutLast([answer])).toEqual([]);
  expect(withoutLast([{ role: 'tool', call: 'a', content: '' }])).toHaveLength(1);
});
