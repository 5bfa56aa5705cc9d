import { describe, expect, it } from 'vitest';
import { Processor } from '../data/processor.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { dpo } from './dpo.js';

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string, weight?: number) => ({
  role: 'assistant',
  content,
  ...(weight === undefined ? {} : { weight }),
});
const openai = (changes: object = {}) => ({
  input: { messages: [user('2 + 2?')] },
  preferred_output: [assistant('4')],
  non_preferred_output: [assistant('5')],
  ...changes,
});

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

const encode = (record: Record<string, unknown>, maxSeqLen = 1000) =>
  dpo.encode([dpo.prepare(record, processor, dpo.options.parse({}))], processor, {
    maxSeqLen,
  })[0]!;
const text = (ids: Iterable<number>): string =>
  [...ids].map((id) => (id === 0 ? '$' : String.fromCharCode(id))).join('');
const learnt = ({ labels }: { labels: Int32Array }): string =>
  text(labels.filter((label) => label >= 0));

it('accepts label smoothing below 0.5 only, because at 0.5 no answer is preferred', () => {
  const issue = (label_smoothing: number) =>
    dpo.options.safeParse({ label_smoothing }).error?.issues[0]?.path;
  expect(issue(0.49)).toBeUndefined();
  expect(issue(0.5)).toEqual(['label_smoothing']);
});

it('accepts label smoothing with the sigmoid loss only', () => {
  const issues = (options: object) => dpo.options.safeParse(options).error?.issues;
  expect(issues({ loss_type: 'ipo' })).toBeUndefined();
  for (const loss_type of ['ipo', 'hinge'])
    expect(issues({ loss_type, label_smoothing: 0.1 })).toMatchObject([
      {
        path: ['label_smoothing'],
        message: expect.stringMatching(/requires loss_type "sigmoid"/) as unknown,
      },
    ]);
});

it.each([
  ['sigmoid', Math.LN2],
  ['hinge', 1],
  ['ipo', 25],
])('starts at the loss of guessing: %s', (loss_type, loss) => {
  const task_options = dpo.options.parse({ loss_type });
  const chance = dpo.chance({ vocabSize: 100 }, { batch_size: 8, task_options });
  expect(chance).toMatchObject({ loss, isStart: true });
});

describe('dpo records', () => {
  it.each([
    ['OpenAI’s format', openai()],
    [
      'OpenAI’s format with tools and a longer chat',
      openai({
        input: {
          messages: [user('a'), assistant('b'), user('c')],
          tools: [{ type: 'function', function: { name: 'f' } }],
          parallel_tool_calls: false,
        },
      }),
    ],
    ['TRL’s texts', { prompt: '2 + 2 = ', chosen: '4', rejected: '5' }],
    ['TRL’s texts with the prompt in both', { chosen: '2 + 2 = 4', rejected: '2 + 2 = 5' }],
    [
      'TRL’s chats',
      { prompt: [user('2 + 2?')], chosen: [assistant('4')], rejected: [assistant('5')] },
    ],
    [
      'TRL’s chats with the prompt in both',
      { chosen: [user('2 + 2?'), assistant('4')], rejected: [user('2 + 2?'), assistant('5')] },
    ],
  ])('accepts %s', (_, record) => {
    expect(dpo.check(record)).toBeNull();
    const { chosen, rejected } = encode(record).example;
    const whole = learnt(chosen) !== learnt(rejected);
    expect(whole).toBe(true);
  });

  it.each([
    [{}, /one of \{"input".*no keys/],
    [{ messages: [user('a'), assistant('b')] }, /this one has the keys "messages"/],
    [{ ...openai(), chosen: 'a', rejected: 'b' }, /not a mix of them/],
    [openai({ extra: 1 }), /unknown key "extra"; supported: input/],
    [openai({ input: undefined }), /"input" is missing/],
    [openai({ input: [] }), /"input" must be an object/],
    [openai({ input: { messages: [] } }), /"input.messages" is empty/],
    [openai({ input: { messages: [user('a')], model: 'x' } }), /^input: unknown key "model"/],
    [openai({ input: { messages: [user('a')], tools: {} } }), /"input.tools" must be an array/],
    [
      openai({ input: { messages: [user('a'), assistant('b')] } }),
      /must not end with an assistant/,
    ],
    [openai({ preferred_output: undefined }), /"preferred_output" is missing/],
    [openai({ preferred_output: 'four' }), /"preferred_output" must be an array/],
    [openai({ preferred_output: [user('4')] }), /preferred_output\[0\]: role "user"/],
    [openai({ preferred_output: [assistant('5')] }), /are the same: neither is preferred/],
    [openai({ preferred_output: [assistant('4', 0)] }), /has weight 0/],
    [{ prompt: 'a', chosen: 'b' }, /"rejected" is missing/],
    [{ prompt: 5, chosen: 'b', rejected: 'c' }, /"prompt" must be a string/],
    [{ prompt: 'a', chosen: 'b', rejected: [assistant('c')] }, /"rejected" must be a string/],
    [{ prompt: 'a', chosen: '', rejected: 'b' }, /"chosen" is empty/],
    [{ prompt: 'a', chosen: 'b', rejected: 'b' }, /are the same/],
    [{ chosen: '', rejected: 'abc' }, /"chosen" is empty/],
    [{ chosen: [user('a')], rejected: [user('a'), assistant('b')] }, /must end with an assi/],
  ])('rejects an invalid record: case %#', (record, reason) => {
    expect(dpo.check(record as Record<string, unknown>)).toMatch(reason);
  });

  it.each([
    ['it is there', 'it is then', ' there$', ' then$'],
    ['6 * 7 = 42', '6 * 7 = 43', ' 42$', ' 43$'],
    ['a\n\nyes', 'a\n\nyet', 'yes$', 'yet$'],
    ['go', 'go up', 'o$', 'o up$'],
  ])(
    'starts the answers at a whole word if there is no prompt: %s',
    (chosen, rejected, ...answers) => {
      expect(dpo.check({ chosen, rejected })).toBeNull();
      const { example } = encode({ chosen, rejected });
      expect([learnt(example.chosen), learnt(example.rejected)]).toEqual(answers);
    },
  );

  it('supervises both answers, each after the same prompt', () => {
    const chat = encode(openai()).example;
    expect(text(chat.chosen.tokens)).toBe('user:2 + 2?|assistant:4|');
    expect([learnt(chat.chosen), learnt(chat.rejected)]).toEqual(['4|', '5|']);
    const earlier = { messages: [user('a'), assistant('b'), user('c')] };
    const longer = encode(openai({ input: earlier })).example;
    expect([learnt(longer.chosen), learnt(longer.rejected)]).toEqual(['4|', '5|']);
    const plain = encode({ prompt: 'Say ', chosen: 'yes', rejected: 'no' }).example;
    expect(text(plain.chosen.tokens)).toBe('Say yes$');
    expect([learnt(plain.chosen), learnt(plain.rejected)]).toEqual(['yes$', 'no$']);
    // As in TRL, a space before the first different word belongs to the answers.
    const implicit = encode({ chosen: 'Say yes', rejected: 'Say no' }).example;
    expect([learnt(implicit.chosen), learnt(implicit.rejected)]).toEqual([' yes$', ' no$']);
  });

  it('counts rows of the reference and reports an answer lost by truncation', () => {
    const record = { prompt: 'Say ', chosen: 'yes', rejected: 'no' };
    const whole = encode(record);
    expect(whole).toMatchObject({ longest: 8, supervised: 7, lost: false });
    expect(whole.example).toMatchObject({ tokenCount: 15, rows: 30 });
    expect(dpo.units(whole.example, 0)).toBe(1);
    expect(encode(record, 6)).toMatchObject({ longest: 8, supervised: 4, lost: false });
    expect(encode(record, 4).lost).toBe(true);
    const uneven = { prompt: '', chosen: 'a', rejected: 'b' };
    expect(encode(uneven, 1).lost).toBe(true);
  });

  it('has the same identity in both formats and lists ignored fields', () => {
    const chats = dpo.facts(
      openai({ input: { messages: [user('2 + 2?')], parallel_tool_calls: true } }),
    );
    const trl = dpo.facts({
      prompt: [user('2 + 2?')],
      chosen: [assistant('4')],
      rejected: [assistant('5')],
    });
    expect(chats).toMatchObject({ format: 'preference', ignored: ['parallel_tool_calls'] });
    expect(trl).toMatchObject({ format: 'chosen_rejected', ignored: [] });
    expect(trl.identity).toEqual(chats.identity);
    expect(trl.chats).toHaveLength(2);
    const other = dpo.facts(openai({ preferred_output: [assistant('four')] }));
    expect(other.identity).not.toEqual(chats.identity);
  });
});
