import { describe, expect, it } from 'vitest';
import type { GgufHeader } from './gguf-header.js';
import { ggufTokenizer } from './gguf-tokenizer.js';

const TOKENS = [
  '<unk>',
  '<s>',
  '<0x0A>',
  'a',
  'b',
  'c',
  'ab',
  'bc',
  'abc',
  '▁',
  '▁a',
  '\n\n',
  '😀',
  '😀a',
];
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE] = [1, 2, 3, 4, 6];
const KINDS = TOKENS.map(
  (_, id) => [UNKNOWN, CONTROL, BYTE][id] ?? (id === 11 ? USER_DEFINED : NORMAL),
);
const SCORES = [0, 0, 0, -9, -9, -9, -2, -1, -3, -9, -2, -1, -9, -4];

const headerOf = (changed: Record<string, unknown> = {}): GgufHeader => ({
  version: 3,
  metadata: new Map<string, unknown>(
    Object.entries({
      model: 'llama',
      tokens: TOKENS,
      scores: SCORES,
      token_type: KINDS,
      unknown_token_id: 0,
      bos_token_id: 1,
      ...changed,
    }).map(([key, value]) => [`tokenizer.ggml.${key}`, value]),
  ) as GgufHeader['metadata'],
  tensors: [],
});
const read = (changed?: Record<string, unknown>) =>
  JSON.parse(ggufTokenizer(headerOf(changed)).tokenizerJson) as {
    normalizer: { type: string };
    decoder: { decoders: { type: string }[] };
    model: { unk_token: string | null; byte_fallback: boolean; merges: [string, string][] };
    added_tokens: { content: string; special: boolean }[];
  };

describe("SentencePiece's tokens", () => {
  it('are rejected if one is too long to be split at every position', () => {
    const tokens = TOKENS.with(12, 'a'.repeat(1001));
    expect(() => read({ tokens })).toThrow('tokenizer.ggml.tokens[12] is too long');
    expect(() => read({ tokens, token_type: KINDS.with(12, USER_DEFINED) })).not.toThrow();
  });

  it('are merged by their scores, and only normal ones', () => {
    expect(read().model.merges).toEqual([
      ['b', 'c'], // -1
      ['a', 'b'], // -2
      ['▁', 'a'], // -2, a later token
      ['a', 'bc'], // -3, the shorter one first
      ['ab', 'c'],
      ['😀', 'a'], // split between characters, not within one
    ]);
  });

  it('start with a space by default', () => {
    const begins = (changed?: Record<string, unknown>): [string, string | undefined] => {
      const { normalizer, decoder } = read(changed);
      return [normalizer.type, decoder.decoders.at(-1)?.type];
    };
    expect(begins()).toEqual(['Sequence', 'Strip']);
    expect(begins({ add_space_prefix: false })).toEqual(['Replace', 'Fuse']);
  });

  it('fall back to bytes, and are matched before splitting if they are not normal', () => {
    const { model, added_tokens: added } = read();
    expect(model).toMatchObject({ unk_token: '<unk>', byte_fallback: true });
    expect(added.map(({ content, special }) => [content, special])).toEqual([
      ['<unk>', true],
      ['<s>', true],
      ['\n\n', false],
    ]);
  });

  it.each([
    ['no scores', { scores: undefined }],
    ['too few scores', { scores: [1, 2] }],
  ])('are rejected with %s', (_, changed) => {
    expect(() => ggufTokenizer(headerOf(changed))).toThrow(
      'tokenizer.ggml.scores must be 14 numbers',
    );
  });
});
