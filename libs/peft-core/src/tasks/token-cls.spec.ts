import { describe, expect, it } from 'vitest';
import { wordPieceTokenizer } from '../../test/word-piece.js';
import { Processor } from '../data/processor.js';
import type { JsonObject } from '../data/json-line.js';
import { entitiesOf } from './labels/entities.js';
import { tokenCls } from './token-cls.js';

const tokenizer = wordPieceTokenizer(['hello', 'world', '##ly', 'friend', 'a', 'b']);
const processor = new Processor({ tokenizer });
const labels = ['B-x', 'I-x', 'O'];

it.each<[JsonObject, RegExp]>([
  [{ tokens: ['a'] }, /"tags" must be a list/],
  [{ tokens: 'a', tags: ['O'] }, /"tokens" must be a list/],
  [{ tokens: [], tags: [] }, /"tokens" is empty/],
  [{ tokens: ['a', ' '], tags: ['O', 'O'] }, /"tokens"\[1\] must be a word/],
  [{ tokens: ['a', 'b'], tags: ['O'] }, /"tags" has 1 entries, but "tokens" has 2/],
  [{ tokens: ['a'], tags: [null] }, /"tags"\[0\] must be a name/],
  [{ tokens: ['a'], tags: ['O'], id: 3 }, /unknown key "id"/],
  [{ text: 'a' }, /must be \{"tokens","tags"\}/],
])('rejects %j', (record, reason) => expect(tokenCls.check(record)).toMatch(reason));

it('detects tags in the records, or accepts only the given tags', () => {
  const survey = tokenCls.survey!({ labels: null });
  expect(survey.see({ tags: ['O', 'B-x'] })).toBeNull();
  expect(survey.see({ tags: ['I-x'] })).toBeNull();
  expect(survey.options()).toEqual({ labels });
  expect(tokenCls.survey!({ labels }).see({ tags: ['B-y'] })).toMatch(/"B-y" is not one of "B-x"/);
  expect(tokenCls.survey!({ labels }).see({ tags: [2] })).toBeNull();
  const same = tokenCls.survey!({ labels: null });
  same.see({ tags: ['O', 'O'] });
  expect(() => same.options()).toThrow('all words have the same tag');
});

describe('examples', () => {
  const encode = (tokens: string[], tags: unknown[], maxSeqLen = 16) => {
    const prepared = tokenCls.prepare({ tokens, tags }, processor, { labels });
    return tokenCls.encode([prepared], processor, { maxSeqLen })[0]!;
  };

  it('have each word’s tag at its first token', () => {
    const { example } = encode(['friendly', 'hello'], ['B-x', 2]);
    // [CLS] friend ##ly hello [SEP]
    expect([...example.tokens]).toEqual([2, 8, 7, 5, 3]);
    expect([...example.places]).toEqual([1, 3]);
    expect([...example.target]).toEqual([0, 2]);
    expect(tokenCls.units(example, null)).toBe(2);
  });

  it('omit words that do not fit or have no token', () => {
    const { example, longest } = encode(['a', '\u200b', 'b', 'friendly', 'a'], [0, 1, 2, 1, 0], 5);
    expect(longest).toBe(7);
    expect([...example.tokens]).toEqual([2, 9, 10, 8, 3]);
    expect([...example.read]).toEqual([0, 2, 3]);
    expect([...example.target]).toEqual([0, 2, 1]);
    expect(encode(['a'], ['O'], 2).lost).toBe(true);
  });

  it('for inference have no tags', () => {
    expect(tokenCls.infer!.record('a  b ')).toEqual({ tokens: ['a', 'b'] });
    for (const wrong of ['', ' ', [], ['a', ''], 3, null])
      expect(() => tokenCls.infer!.record(wrong)).toThrow();
    const options = { maxSeqLen: 9, vocabSize: 99, taskOptions: { labels: null } };
    const [found] = tokenCls.infer!.encode([{ tokens: ['a', 'b'] }], processor, options);
    expect(found!.example.target).toHaveLength(0);
    expect([...found!.example.places]).toEqual([1, 2]);
  });
});

describe('entities', () => {
  const found = (tags: string[]) =>
    entitiesOf(tags).map(({ type, from, to }) => `${from}-${to} ${type}`);
  // seqeval's get_entities
  it.each([
    [
      ['B-PER', 'I-PER', 'O', 'B-LOC'],
      ['0-1 PER', '3-3 LOC'],
    ],
    [
      ['I-PER', 'I-PER', 'I-LOC', 'O'],
      ['0-1 PER', '2-2 LOC'],
    ],
    [
      ['B-PER', 'B-PER'],
      ['0-0 PER', '1-1 PER'],
    ],
    [
      ['S-PER', 'I-PER', 'E-PER', 'I-PER'],
      ['0-0 PER', '1-2 PER', '3-3 PER'],
    ],
    [['O', 'O'], []],
  ])('%j', (tags, wanted) => expect(found(tags)).toEqual(wanted));

  it('have the F1 of seqeval’s example', () => {
    const f1 = tokenCls.metrics.find(({ name }) => name === 'f1')!;
    const sums = (totals: Record<string, number>) => ({ units: 10, totals });
    // y_true O O O B I I O | B I O, y_pred O O B I I I O | B I O
    expect(f1.of(sums({ both: 1, found: 2, real: 2 }))).toBe(0.5);
    expect(f1.of(sums({ right: 1 }))).toBeNull();
  });
});
