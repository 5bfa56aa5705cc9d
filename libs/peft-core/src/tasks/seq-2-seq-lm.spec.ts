import { describe, expect, it } from 'vitest';
import { Processor } from '../data/processor.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { seq2SeqLm } from './seq-2-seq-lm.js';

const user = { role: 'user', content: '2 + 2?' };
const assistant = (content: string, weight?: number) => ({
  role: 'assistant',
  content,
  ...(weight === undefined ? {} : { weight }),
});

// One token per character. The end-of-text token is 1, as in T5.
const tokenizer = {
  eosId: 1,
  render: (messages: readonly { role: string; content?: unknown }[]) =>
    `${messages.map(({ role, content }) => `${role}:${String(content)}|`).join('')}>`,
  encodeBatch: (texts: readonly string[]) =>
    texts.map((text) => ({
      ids: Int32Array.from(text, (c) => c.charCodeAt(0)),
      starts: Int32Array.from(text, (_, i) => i),
    })),
} as unknown as Tokenizer;
const processor = new Processor({ tokenizer });

const text = (ids: Int32Array): string =>
  [...ids].map((id) => (id === 1 ? '$' : String.fromCharCode(id))).join('');
const encode = (record: Record<string, unknown>, maxSeqLen = 1000) =>
  seq2SeqLm.encode([seq2SeqLm.prepare(record, processor, {})], processor, { maxSeqLen })[0]!;
const sides = (record: Record<string, unknown>): string[] => {
  expect(seq2SeqLm.check(record)).toBeNull();
  const { source, target } = encode(record).example;
  return [text(source), text(target)];
};

describe('seq_2_seq_lm records', () => {
  it('uses the prompt as source and the completion as target', () => {
    expect(sides({ prompt: 'sum: 2 2', completion: '4' })).toEqual(['sum: 2 2$', '4$']);
  });

  it('uses the last answer of a chat as target', () => {
    expect(sides({ messages: [user, assistant('4')] })).toEqual(['user:2 + 2?|>$', '4$']);
    const longer = [user, assistant('5', 0), user, assistant('4')];
    expect(sides({ messages: longer })).toEqual(['user:2 + 2?|assistant:5|user:2 + 2?|>$', '4$']);
  });

  it.each([
    [{ text: 'a' }, /one of \{"messages"\} or .*the keys "text"/],
    [{ prompt: 'a', completion: 'b', messages: [] }, /not a mix of them/],
    [{ prompt: '', completion: 'b' }, /"prompt" is empty/],
    [{ prompt: 'a', completion: '' }, /"completion" is empty/],
    [{ prompt: 'a' }, /"completion" is missing/],
    [{ messages: [user] }, /no message with role "assistant"/],
    [{ messages: [user, assistant('4'), user] }, /must end with an assistant/],
    [
      { messages: [user, assistant('4'), assistant('5', 0)] },
      /last assistant message has weight 0/,
    ],
    [{ messages: [assistant('4')] }, /must have a message before the answer/],
  ])('rejects an invalid record: case %#', (record, reason) => {
    expect(seq2SeqLm.check(record as Record<string, unknown>)).toMatch(reason);
  });

  it('truncates source and target, and counts rows and targets', () => {
    const record = { prompt: 'a long question', completion: 'a long answer' };
    const cut = encode(record, 8);
    expect(cut).toMatchObject({ longest: 16, supervised: 8, lost: false });
    expect(cut.example).toMatchObject({ rows: 16, tokenCount: 16 });
    expect([text(cut.example.source), text(cut.example.target)]).toEqual(['a long $', 'a long a']);
    expect(seq2SeqLm.units(cut.example, 0)).toBe(8);
  });
});
