// Compares with transformers 5.24's BertTokenizer for the same words, with truncation.
import { expect, it } from 'vitest';
import { wordPieceTokenizer } from '../../../test/word-piece.js';

// [PAD] [UNK] [CLS] [SEP] [MASK] are 0 to 4
const tokenizer = wordPieceTokenizer(['hello', 'world', '##ly', 'friend', 'a', 'b', 'c']);
const cut = (input: string | readonly [string, string], maxLength: number) =>
  tokenizer.encodeCut([input], maxLength)[0]!;

it('encodes texts and pairs with types and the position of each token', () => {
  const [one, pair] = tokenizer.encodeInputs(['Hello friendly', ['a', 'b c']]);
  expect([...one!.ids]).toEqual([2, 5, 8, 7, 3]);
  expect([...one!.from]).toEqual([0, 0, 6, 12, 0]);
  expect([...one!.to]).toEqual([0, 5, 12, 14, 0]);
  expect([...pair!.ids]).toEqual([2, 9, 3, 10, 11, 3]);
  expect([...pair!.types]).toEqual([0, 0, 0, 1, 1, 1]);
  expect([...pair!.texts]).toEqual([-1, 0, -1, 1, 1, -1]);
});

it('truncates the longer of two texts first, then both, at their ends', () => {
  const long = cut(['hello a b c', 'world a b c a b c'], 8);
  expect([...long.ids]).toEqual([2, 5, 9, 3, 6, 9, 10, 3]);
  expect([...long.types]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  expect(long.longest).toBe(14);
  expect([...cut(['a', 'a b c a b'], 7).ids]).toEqual([2, 9, 3, 9, 10, 11, 3]);
  expect([...cut(['a b c a b', 'a'], 7).ids]).toEqual([2, 9, 10, 11, 3, 9, 3]);
  expect([...cut('a b c', 4).ids]).toEqual([2, 9, 10, 3]);
  expect(cut('a', 9)).toMatchObject({ longest: 3 });
});

it.each([3, 2, 1, 0])('truncates to %i tokens, including special tokens', (most) => {
  const { ids, texts } = cut(['hello a', 'b'], most);
  expect(ids).toHaveLength(most);
  expect([...texts].every((text) => text < 0)).toBe(true);
});
