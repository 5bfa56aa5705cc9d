import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DomainError } from '@graft/contracts';
import { byteLevelAlphabet, Tokenizer as Official } from 'tokenizers';
import { afterAll, describe, expect, it } from 'vitest';
import { causalLm, type TokenExample } from '../tasks/causal-lm.js';
import { loadExamples } from './examples.js';
import type { JsonObject } from '../data/json-line.js';
import { UNSUPERVISED } from '../data/text/supervised-text.js';
import { Processor } from '../data/processor.js';
import { Tokenizer } from '../data/text/tokenizer.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-examples-'));
afterAll(() => rmSync(folder, { recursive: true }));

// A byte-level alphabet, as in GPT-2 and SmolLM2: ids 0-2 are special, then come the 256 bytes, then the merges.
const alphabet = byteLevelAlphabet().sort();
const merges: [string, string][] = [
  ['h', 'i'],
  ['Ċ', 'Ċ'],
  ['Ġ', 'hi'],
];
const words = ['<s>', '</s>', '<|im|>', ...alphabet, ...merges.map((pair) => pair.join(''))];
const vocab = Object.fromEntries(words.map((word, id) => [word, id]));
const special = words.slice(0, 3).map((content, id) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
}));
const byteLevel = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
};
const tokenizerJson = JSON.stringify({
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: special,
  normalizer: null,
  pre_tokenizer: byteLevel,
  post_processor: {
    type: 'Sequence',
    processors: [
      byteLevel,
      {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '<s>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
        ],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
        special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } },
      },
    ],
  },
  decoder: byteLevel,
  model: {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab,
    merges,
  },
});
const chatTemplate =
  "{% for m in messages %}{{ '<|im|>' + m['role'] + '\\n' + m['content'] + '</s>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im|>assistant\\n' }}{% endif %}";
const tokenizer = Tokenizer.load({
  tokenizerJson,
  tokenizerConfig: { bos_token: '<s>', eos_token: { content: '</s>' } },
  chatTemplate,
});
afterAll(() => tokenizer.dispose());

const decode = (ids: Iterable<number>): string => tokenizer.decode(ids, { skipSpecial: false });
/** Returns the texts of the target spans of an example. */
function learnt({ tokens, labels, first }: TokenExample): string[] {
  const stretches: number[][] = [[]];
  for (const [i, label] of [first, ...labels].entries()) {
    if (label === UNSUPERVISED) stretches.push([]);
    else {
      expect(label).toBe(tokens[i]);
      stretches.at(-1)?.push(label);
    }
  }
  return stretches.filter(({ length }) => length > 0).map(decode);
}
const processor = new Processor({ tokenizer });
const encodeWith = (using: Tokenizer, record: JsonObject, maxSeqLen: number): TokenExample => {
  const of = new Processor({ tokenizer: using });
  return causalLm.encode([causalLm.prepare(record, of, {})], of, { maxSeqLen })[0]!.example;
};
const encode = (record: JsonObject, maxSeqLen = 1000): TokenExample =>
  encodeWith(tokenizer, record, maxSeqLen);
const user = (content: string): unknown => ({ role: 'user', content });
const assistant = (content: unknown, weight?: number): unknown => ({
  role: 'assistant',
  content,
  ...(weight === undefined ? {} : { weight }),
});

describe('Tokenizer', () => {
  it('encodes and decodes like the official package', async () => {
    const official = Official.fromString(tokenizerJson);
    for (const text of [
      '',
      ' ',
      'hi hi\n\nhi',
      '<|im|>user\nhi</s>',
      'é日本😀👩‍🚀',
      'a\u0000b',
      '  hi  ',
    ]) {
      for (const addSpecialTokens of [true, false]) {
        const expected = (await official.encode(text, null, { addSpecialTokens })).getIds();
        expect(tokenizer.encode(text, { special: addSpecialTokens })).toEqual(expected);
      }
      expect(decode(tokenizer.encode(text))).toBe(text);
    }
    expect(tokenizer.decode(tokenizer.encode('<|im|>hi</s>'))).toBe('hi');
  });

  it('returns where tokens start, in UTF-16, and which are special', () => {
    const text = ' hi 😀hi é\n\n<|im|>hi';
    const [encoded] = tokenizer.encodeBatch([text], { special: true, starts: true });
    const starts = [...(encoded?.starts ?? [])];
    expect(starts[0]).toBe(-1);
    const pieces = starts.map((start, i) => (start < 0 ? null : text.slice(start, starts[i + 1])));
    expect(pieces.filter(Boolean)).toEqual([
      ' hi',
      ' ',
      '😀',
      'hi',
      ' ',
      'é',
      '\n\n',
      '<|im|>',
      'hi',
    ]);
  });

  it('reads its end-of-text tokens from all three configs', () => {
    expect(tokenizer.eosIds).toEqual([1]);
    const more = Tokenizer.load({
      tokenizerJson,
      tokenizerConfig: { eos_token: '</s>' },
      config: { eos_token_id: 1 },
      generationConfig: { eos_token_id: [2, 1] },
    });
    expect([more.eosIds, more.eosId, more.vocabSize, more.hasTemplate]).toEqual([
      [1, 2],
      1,
      words.length,
      false,
    ]);
    expect(() => more.render([{ role: 'user', content: 'x' }])).toThrow(/no chat template/);
    more.dispose();
    expect(() => more.encode('x')).toThrow(/disposed/);
  });

  it('rejects invalid tokenizers, naming the file', () => {
    expect(() => Tokenizer.load({ tokenizerJson: '{' })).toThrow(
      /tokenizer.json is not valid JSON/,
    );
    expect(() => Tokenizer.load({ tokenizerJson: '{"version":"1.0"}' })).toThrow(
      /cannot read tokenizer.json/,
    );
    expect(() => Tokenizer.load({ tokenizerJson, chatTemplate: '{% for %}' })).toThrow(
      /cannot read the chat template/,
    );
    expect(() => Tokenizer.load(folder)).toThrow(/no tokenizer.json/);
    const model = { type: 'BPE', vocab: { H: 0, i: 1, Hi: 2 }, continuing_subword_prefix: '####' };
    for (const merges of [[['H', 'i']], ['H i'], [['####Hi', '####Hi']]])
      expect(() =>
        Tokenizer.load({ tokenizerJson: JSON.stringify({ model: { ...model, merges } }) }),
      ).toThrow(/the merge .* does not result in a token of the vocabulary/);
    const empty = { tokenizerConfig: { chat_template: [null, { name: 'default' }] } };
    expect(Tokenizer.load({ tokenizerJson, ...empty }).hasTemplate).toBe(false);
  });
});

describe('the examples of causal_lm', () => {
  it('supervises assistant turns with their end', () => {
    const example = encode({
      messages: [user('hi'), assistant('hi hi'), user('x'), assistant('y')],
    });
    expect(decode(example.tokens)).toBe(
      '<|im|>user\nhi</s>\n<|im|>assistant\nhi hi</s>\n<|im|>user\nx</s>\n<|im|>assistant\ny</s>\n',
    );
    expect(learnt(example)).toEqual(['hi hi</s>\n', 'y</s>\n']);
    expect(example.first).toBe(UNSUPERVISED);
    expect(example.labels.at(-1)).toBe(UNSUPERVISED);
  });

  it('does not supervise turns of weight 0', () => {
    expect(
      learnt(encode({ messages: [user('a'), assistant('no', 0), user('b'), assistant('yes', 1)] })),
    ).toEqual(['yes</s>\n']);
  });

  it('reads content parts, developer prompts and special tokens inside texts', () => {
    const messages = [
      { role: 'developer', content: 'hi' },
      user('<|im|>assistant\n'),
      assistant([
        { type: 'text', text: '😀' },
        { type: 'text', text: '</s>' },
      ]),
    ];
    const example = encode({ messages });
    expect(decode(example.tokens)).toMatch(/^<\|im\|>system\nhi<\/s>/);
    expect(learnt(example)).toEqual(['😀</s></s>\n']);
  });

  it('does not supervise a token that starts in the prompt', () => {
    // The line break of the generation prompt and that of the answer merge into one token.
    const example = encode({ messages: [user('a'), assistant('\n')] });
    expect(decode(example.tokens)).toContain('assistant\n\n</s>');
    expect(learnt(example)).toEqual(['</s>\n']);
  });

  it('supervises completions and their end, after the prompt', () => {
    const example = encode({ prompt: 'hi', completion: ' hi' });
    expect(decode(example.tokens)).toBe('<s>hi hi</s>');
    expect(learnt(example)).toEqual([' hi</s>']);
    expect(learnt(encode({ prompt: '', completion: 'hi' }))).toEqual(['hi</s>']);
  });

  it('supervises plain text and its end', () => {
    const example = encode({ text: 'hi 😀' });
    expect(decode(example.tokens)).toBe('<s>hi 😀</s>');
    expect(learnt(example)).toEqual(['hi 😀</s>']);
  });

  it('has a target before the first token if text is supervised from its start', () => {
    const plain = Tokenizer.load({
      tokenizerJson: tokenizerJson.replace(
        /"post_processor":\{.*?\]\}\}\}\]\}/,
        '"post_processor":null',
      ),
      tokenizerConfig: {},
    });
    expect(plain.encode('hi', { special: true })).toEqual(tokenizer.encode('hi'));
    const { tokens, labels, first } = encodeWith(plain, { text: 'hihi' }, 10);
    expect([first, [...labels]]).toEqual([tokens[0], [tokens[1], UNSUPERVISED]]);
    plain.dispose();
  });

  it('truncates to maxSeqLen tokens, without a target after them', () => {
    const whole = encode({ text: 'hi there' });
    const cut = encode({ text: 'hi there' }, 4);
    expect([...cut.tokens]).toEqual([...whole.tokens.subarray(0, 4)]);
    expect([...cut.labels]).toEqual([...whole.labels.subarray(0, 3), UNSUPERVISED]);
  });

  it("rejects messages with the template's own error", () => {
    const picky = Tokenizer.load({
      tokenizerJson,
      tokenizerConfig: {},
      chatTemplate: "{{ raise_exception('No.') }}",
    });
    expect(() => encodeWith(picky, { messages: [user('a'), assistant('b')] }, 9)).toThrow(
      /rejects these messages: No\./,
    );
    picky.dispose();
  });
});

describe('loadExamples', () => {
  const write = (lines: readonly unknown[]): string => {
    const path = join(folder, 'data.jsonl');
    writeFileSync(
      path,
      lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
    );
    return path;
  };
  const load = (
    lines: readonly unknown[],
    maxSeqLen = 100,
    onProgress?: (share: number) => void,
  ): TokenExample[] =>
    loadExamples(write(lines), causalLm, processor, { maxSeqLen, taskOptions: {}, onProgress });

  it('loads many records with the same result as single ones, reporting progress', () => {
    const records = Array.from({ length: 600 }, (_, i) =>
      i % 3 === 0
        ? { text: `hi ${i}` }
        : i % 3 === 1
          ? { prompt: `${i}`, completion: ' hi' }
          : { messages: [user(`${i}`), assistant('hi')] },
    );
    const told: number[] = [];
    const examples = load(records, 100, (share) => told.push(share));
    expect(examples).toEqual(records.map((record) => encode(record)));
    expect(told).toHaveLength(3);
    expect(told[0]).toBeCloseTo(256 / 600, 1);
    expect(told[1]).toBeCloseTo(512 / 600, 1);
    expect(told[2]).toBe(1);
  });

  it('names an unusable line', () => {
    expect(() => load([{ text: 'a' }, '{"text":5}'])).toThrow('line 2: "text" must be a string');
    expect(() => load([{ text: 'a' }, '', '{"text":5}'])).toThrow('line 3: "text" must be');
    expect(load([])).toEqual([]);
  });

  it('skips blank lines, like the check of an upload', () => {
    expect(load([{ text: 'a' }, '', ' \r', { text: 'b' }, ''])).toHaveLength(2);
  });

  it('rejects lines without targets left, even if others have some', () => {
    const chat = { messages: [user('a long question'), assistant('hi')] };
    const lost = (lines: readonly unknown[]): { message: string; param: string | null } => {
      try {
        load(lines, 8);
      } catch (error) {
        return error as DomainError;
      }
      throw new Error('was accepted');
    };
    expect(lost([{ text: 'hi' }, chat])).toMatchObject({
      code: 'invalid_training_file',
      param: 'training_file',
      message:
        'line 2: the first 8 tokens contain nothing to learn; shorten it, or raise graft.max_seq_len if the base supports more',
    });
    expect(lost([chat, '', { text: 'hi' }, chat]).message).toMatch(
      /^lines 1, 4: the first 8 tokens contain nothing to learn; shorten them/,
    );
    expect(lost(Array.from({ length: 25 }, () => chat)).message).toMatch(/^lines 1–25: /);
  });

  it('names the file that it reads, and reports truncated lines', () => {
    const chat = { messages: [user('a long question'), assistant('hi')] };
    const validation = { maxSeqLen: 8, taskOptions: {}, param: 'validation_file' };
    expect(() => loadExamples(write([chat]), causalLm, processor, validation)).toThrow(
      expect.objectContaining({ param: 'validation_file' }),
    );
    const cut: number[][] = [];
    const onCut = (lines: readonly number[]): number => cut.push([...lines]);
    const options = { maxSeqLen: 8, taskOptions: {}, onCut };
    loadExamples(
      write([{ text: 'hi' }, { text: 'a long text' }, '', { text: 'longer still' }]),
      causalLm,
      processor,
      options,
    );
    loadExamples(write([{ text: 'hi' }]), causalLm, processor, options);
    expect(cut).toEqual([[2, 4]]);
  });
});
