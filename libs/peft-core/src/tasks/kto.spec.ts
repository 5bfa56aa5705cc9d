import { describe, expect, it } from 'vitest';
import { Processor } from '../data/processor.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { kto } from './kto.js';
import { labelBalance } from './losses/label-balance.js';

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

// One token per character. Chats are "role:content|"; the generation prompt is "assistant:".
const tokenizer = {
  eosId: 0,
  render: (
    messages: readonly { role: string; content?: unknown }[],
    { addGenerationPrompt = false } = {},
  ) =>
    messages.map(({ role, content }) => `${role}:${String(content)}|`).join('') +
    (addGenerationPrompt ? 'assistant:' : ''),
  encodeBatch: (texts: readonly string[]) =>
    texts.map((text) => ({
      ids: Int32Array.from(text, (c) => c.charCodeAt(0)),
      starts: Int32Array.from(text, (_, i) => i),
    })),
} as unknown as Tokenizer;
const processor = new Processor({ tokenizer });

const options = kto.options.parse({});
const encode = (record: Record<string, unknown>, maxSeqLen = 1000) =>
  kto.encode([kto.prepare(record, processor, options)], processor, { maxSeqLen })[0]!;
const text = (ids: Iterable<number>): string =>
  [...ids].map((id) => (id === 0 ? '$' : String.fromCharCode(id))).join('');

describe('kto records', () => {
  it.each([
    ['a text', { prompt: 'Say ', completion: 'yes', label: true }, 'Say ', 'yes$'],
    [
      'a label as text, as in a table',
      { prompt: 'Say ', completion: 'yes', label: 'False' },
      'Say ',
      'yes$',
    ],
    ['an empty prompt', { prompt: '', completion: 'yes', label: false }, '', 'yes$'],
    [
      'a chat',
      { messages: [user('a'), assistant('b'), user('c'), assistant('d')], label: true },
      'user:a|assistant:b|user:c|assistant:',
      'd|',
    ],
    [
      'a prompt of messages',
      { prompt: [user('a')], completion: [assistant('b')], label: false },
      'user:a|assistant:',
      'b|',
    ],
  ])('accepts %s', (_, record, prompt, completion) => {
    expect(kto.check(record)).toBeNull();
    const { example, lost } = encode(record);
    expect([text(example.prompt), text(example.completion.tokens)]).toEqual([prompt, completion]);
    expect(example.completion.targetMask).toEqual(new Uint8Array(completion.length).fill(1));
    expect(example.good).toBe(record.label === true);
    expect(lost).toBe(false);
    expect(kto.facts(record).label).toBe(String(record.label).toLowerCase());
  });

  it.each([
    [{}, /one of \{"prompt","completion","label"\}.*no keys/],
    [{ prompt: 'a', completion: 'b' }, /this one has the keys "prompt", "completion"/],
    [{ prompt: 'a', completion: 'b', label: 'good' }, /"label" must be true or false, got "good"/],
    [{ prompt: 'a', completion: 'b', label: 1 }, /"label" must be true or false, got 1/],
    [{ prompt: 'a', completion: 'b', label: null }, /"label" must be true or false, got null/],
    [{ completion: 'b', label: true }, /"prompt" is missing/],
    [{ prompt: 'a', label: true }, /"completion" is missing/],
    [{ prompt: 'a', completion: '', label: true }, /"completion" is empty/],
    [{ prompt: 'a', completion: [assistant('b')], label: true }, /"completion" must be a string/],
    [{ prompt: [user('a')], completion: 'b', label: true }, /"prompt" must be a string/],
    [{ prompt: 'a', completion: 'b', label: true, tools: [] }, /"tools" requires arrays/],
    [{ prompt: 'a', completion: 'b', label: true, chosen: 'c' }, /unknown key "chosen"/],
    [{ messages: [user('a'), assistant('b')], prompt: 'a', label: true }, /not a mix of them/],
    [{ messages: [user('a')], label: true }, /must end with an assistant message/],
    [{ messages: [assistant('a')], label: true }, /must have a message before the answer/],
    [{ messages: [], label: true }, /"messages" is empty/],
    [{ messages: [user('a'), assistant('b')], label: true, tools: {} }, /"tools" must be an array/],
  ])('rejects an invalid record: case %#', (record, reason) => {
    expect(kto.check(record)).toMatch(reason);
  });

  it('separates prompt and answer, and truncates them together', () => {
    const record = { prompt: 'Say ', completion: 'yes', label: true };
    const whole = encode(record);
    expect(whole).toMatchObject({ longest: 8, supervised: 4, lost: false });
    expect(whole.example).toMatchObject({ tokenCount: 8, rows: 16 });
    const short = encode(record, 6);
    expect(short).toMatchObject({ longest: 8, supervised: 2, lost: false });
    expect(short.example).toMatchObject({ tokenCount: 6, rows: 12 });
    expect(text(short.example.completion.tokens)).toBe('yes$');
    expect(encode(record, 4).lost).toBe(true);
  });

  it('has another identity with another label', () => {
    const record = { prompt: 'a', completion: 'b' };
    const [good, bad] = [true, false].map((label) => kto.facts({ ...record, label }).identity);
    expect(good).not.toEqual(bad);
  });
});

it('returns null for rewards of answers that a step does not have', () => {
  const sums = { units: 2, totals: { loss: 1, kl: 1, good: 2, bad: 0, chosen: 3, rejected: 0 } };
  const found = Object.fromEntries(kto.metrics.map(({ name, of }) => [name, of(sums)]));
  expect(found).toEqual({
    loss: 0.5,
    rewards_margin: null,
    rewards_chosen: 1.5,
    rewards_rejected: null,
    kl: 0.5,
  });
});

describe('labelBalance', () => {
  const of = (good: number, bad: number, more = {}): string | null =>
    labelBalance(
      new Map([
        ...(good ? [['true', good] as const] : []),
        ...(bad ? [['false', bad] as const] : []),
      ]),
      kto.options.parse(more),
    );

  it.each([
    [10, 10, {}],
    [12, 10, {}],
    [10, 40, { desirable_weight: 4 }],
    [0, 0, {}],
  ])('accepts %i good and %i bad answers with %j', (good, bad, more) =>
    expect(of(good, bad, more)).toBeNull(),
  );

  it('warns if all labels are the same', () => {
    expect(of(10, 0)).toMatch(/^All labels of the training file are true: /);
    expect(of(0, 10)).toMatch(/^All labels of the training file are false: /);
  });

  it('suggests weights that balance the labels', () =>
    expect(of(10, 40)).toBe(
      '10 answers of the training file are good and 40 are bad: set desirable_weight from 4 to 5.32, or undesirable_weight from 0.19 to 0.25, to balance them.',
    ));
});
