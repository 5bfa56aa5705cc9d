import { expect, it } from 'vitest';
import type { ChatMessage } from '../data/text/chat-template.js';
import { truncatedPrompt } from './truncated-prompt.js';

/** Encodes each message as its content, once per token. */
const encode = (messages: readonly ChatMessage[]): number[] =>
  messages.flatMap(({ content }) => [...(content as string)].map(Number));
const say = (role: string, content: string): ChatMessage => ({ role, content });

const CHAT = [
  say('system', '11'),
  say('user', '22'),
  say('assistant', '33'),
  say('tool', '44'),
  say('assistant', '55'),
  say('user', '66'),
  say('assistant', '77'),
  say('user', '88'),
];

it.each([
  [16, '1122334455667788'],
  [15, '11667788'],
  [8, '11667788'],
  [7, '1188'],
  [4, '1188'],
  [3, '1188'],
])('keeps the system message and what fits into %i tokens, from a user’s message', (most, kept) => {
  expect(truncatedPrompt(CHAT, most, encode).join('')).toBe(kept);
});

it('keeps a chat without an earlier message', () => {
  expect(truncatedPrompt([say('user', '222')], 1, encode)).toHaveLength(3);
  expect(truncatedPrompt([say('system', '11')], 1, encode)).toHaveLength(2);
});

it('encodes a long chat a few times only', () => {
  let calls = 0;
  const long = Array.from({ length: 1000 }, (_, i) => say(i % 2 ? 'assistant' : 'user', '2'));
  const ids = truncatedPrompt(long, 100, (messages) => {
    calls++;
    return encode(messages);
  });
  expect([ids.length, calls < 12]).toEqual([100, true]);
});
