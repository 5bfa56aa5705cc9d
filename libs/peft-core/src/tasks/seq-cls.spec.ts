import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../data/json-line.js';
import { wordPieceTokenizer } from '../../test/word-piece.js';
import { Processor } from '../data/processor.js';
import { macroF1, matthews, pearson } from './labels/label-metrics.js';
import { seqCls } from './seq-cls.js';

const tokenizer = wordPieceTokenizer(['hello', 'world', '##ly', 'friend', 'a', 'b', 'c']);
const processor = new Processor({ tokenizer });

type Options = ReturnType<typeof seqCls.options.parse>;
const NOTHING = seqCls.options.parse({});

function survey(labels: readonly unknown[], given: Partial<Options> = {}): Options {
  const found = seqCls.survey!({ ...NOTHING, ...given });
  for (const label of labels) {
    const reason = found.see({ text: 'a', label });
    if (reason !== null) throw new Error(reason);
  }
  return found.options();
}

describe('a record', () => {
  it.each<[string, JsonObject]>([
    ['a name', { text: 'hello', label: 'x' }],
    ['a number', { text: 'hello', label: 3 }],
    ['a boolean', { text: 'hello', label: false }],
    ['a list', { text: 'hello', label: ['x', 2] }],
    ['an empty list', { text: 'hello', label: [] }],
    ['a pair', { text: 'hello', text_pair: 'world', label: 'x' }],
  ])('accepts %s', (_, record) => expect(seqCls.check(record)).toBeNull());

  it.each<[JsonObject, RegExp]>([
    [{ text: 'hello' }, /must be \{"text","label"\}/],
    [{ text: '', label: 'x' }, /"text" is empty/],
    [{ text: 'hello', label: '' }, /"label" is empty: label the record/],
    [{ text: 'hello', label: null }, /"label" is empty/],
    [{ text: 'hello', label: ['x', {}] }, /"label"\[1\] must be a name/],
    [{ text: 'hello', label: ['x', 'x'] }, /lists a label twice/],
    [{ text: 'hello', label: 'x', labels: [] }, /unknown key "labels"/],
    [{ text: 'hello', text_pair: 3, label: 'x' }, /"text_pair" must be a string/],
  ])('rejects %j', (record, reason) => expect(seqCls.check(record)).toMatch(reason));
});

describe('the label survey', () => {
  it.each<[string, unknown[], Partial<Options>]>([
    ['sorts names alphabetically', ['b', 'a', 'b'], { labels: ['a', 'b'] }],
    ['sorts integers by value', [10, 9, 1], { labels: ['1', '9', '10'] }],
    ['sorts integers that are text, as in tables', ['10', '9'], { labels: ['9', '10'] }],
    ['accepts booleans', [true, false], { labels: ['false', 'true'] }],
    [
      'detects multi-label, also with empty lists',
      [['b', 'a'], [], ['c']],
      { labels: ['a', 'b', 'c'], problem_type: 'multi_label_classification' },
    ],
    [
      'detects scores if one has a fraction',
      [1, 2.5],
      { labels: null, problem_type: 'regression' },
    ],
    [
      'detects scores that are text, as in tables',
      ['1', '2.5'],
      { labels: null, problem_type: 'regression' },
    ],
  ])('%s', (_, labels, wanted) =>
    expect(survey(labels)).toEqual({ problem_type: 'single_label_classification', ...wanted }),
  );

  it('uses the given options', () => {
    expect(survey(['a'], { labels: ['b', 'a'] }).labels).toEqual(['b', 'a']);
    expect(survey([1, 0], { labels: ['no', 'yes'] }).labels).toEqual(['no', 'yes']);
    expect(survey([1, 2], { problem_type: 'regression' }).labels).toBeNull();
    expect(() => survey(['c'], { labels: ['b', 'a'] })).toThrow('"c" is not one of "b", "a"');
    expect(() => survey([2], { labels: ['b', 'a'] })).toThrow('2 is not one of');
    expect(() => survey(['x'], { problem_type: 'regression' })).toThrow('must be a number');
    expect(() => survey([['x']], { problem_type: 'regression' })).toThrow('is a list');
  });

  it.each<[unknown[], string]>([
    [['a', ['b']], 'is a list, but earlier records or problem_type require a single label'],
    [[['a'], 'b'], 'must be a list, as earlier records or problem_type require'],
    [['a', 'a'], 'every record has the label "a", so there is nothing to distinguish'],
    [[[], []], 'no record has a label'],
  ])('rejects %j', (labels, message) => expect(() => survey(labels)).toThrow(message));

  it('treats fractions as names if there are also words', () =>
    expect(survey([1.5, 'x']).problem_type).toBe('single_label_classification'));

  it('suggests regression for thousands of numbers', () =>
    expect(() => survey(Array.from({ length: 5000 }, (_, i) => i))).toThrow('set problem_type'));
});

it('rejects options that contradict each other', () => {
  const wrong = (options: object): string | undefined =>
    seqCls.options.safeParse(options).error?.issues[0]?.message;
  expect(wrong({ problem_type: 'regression', labels: ['x', 'y'] })).toBe(
    'a regression has no labels; remove them',
  );
  expect(wrong({ problem_type: 'single_label_classification', labels: ['x'] })).toMatch(
    /at least 2/,
  );
  expect(wrong({ labels: ['x', 'x'] })).toMatch(/listed twice/);
});

describe('examples', () => {
  const single: Options = { problem_type: 'single_label_classification', labels: ['x', 'y'] };
  const encode = (record: JsonObject, options = single, maxSeqLen = 16) => {
    const prepared = seqCls.prepare(record, processor, options);
    return seqCls.encode([prepared], processor, { maxSeqLen })[0]!;
  };

  it('have special tokens, and token types for a pair', () => {
    const one = encode({ text: 'Hello friendly', label: 'y' });
    expect(tokenizer.decode(one.example.tokens, { skipSpecial: false })).toBe(
      '[CLS] hello friendly [SEP]',
    );
    expect(one.example).toMatchObject({ types: null, rows: 5, tokenCount: 5 });
    expect([...one.example.target]).toEqual([1]);
    const pair = encode({ text: 'a b', text_pair: 'c', label: 0 });
    expect([...pair.example.types!]).toEqual([0, 0, 0, 0, 1, 1]);
  });

  it('are truncated in the longer text and keep their special tokens', () => {
    const { example, longest } = encode(
      { text: 'a', text_pair: 'a b c a b c', label: 'x' },
      single,
      6,
    );
    expect(longest).toBe(10);
    expect(tokenizer.decode(example.tokens, { skipSpecial: false })).toBe(
      '[CLS] a [SEP] a b [SEP]',
    );
  });

  it('have a target for each label with multi-label, or a score', () => {
    const several: Options = { ...single, problem_type: 'multi_label_classification' };
    expect([...encode({ text: 'a', label: ['y'] }, several).example.target]).toEqual([0, 1]);
    const measure: Options = { problem_type: 'regression', labels: null };
    expect([...encode({ text: 'a', label: '-0.5' }, measure).example.target]).toEqual([-0.5]);
  });

  it('for inference have no target', () => {
    const record = seqCls.infer!.record(['a', 'b']);
    expect(record).toEqual({ text: 'a', text_pair: 'b' });
    expect(seqCls.infer!.record('a')).toEqual({ text: 'a' });
    const how = { maxSeqLen: 9, vocabSize: 99, taskOptions: single };
    const [encoded] = seqCls.infer!.encode([record], processor, how);
    expect([...encoded!.example.types!]).toEqual([0, 0, 0, 1, 1]);
    for (const wrong of ['', [], ['a', 'b', 'c'], { label: 'x' }, null, 3])
      expect(() => seqCls.infer!.record(wrong), JSON.stringify(wrong)).toThrow();
  });
});

describe('metrics', () => {
  // scikit-learn's: y_true [0, 1, 2, 0, 1, 2], y_pred [0, 2, 1, 0, 0, 1]: f1 macro 0.2666…, matthews 0.0
  const totals = {
    single: 6,
    right: 2,
    'tp/0': 2,
    'fp/0': 1,
    'fp/1': 2,
    'fn/1': 2,
    'fp/2': 1,
    'fn/2': 2,
  };

  it('F1 is the mean over the labels that occur', () => {
    expect(macroF1({ units: 6, totals })).toBeCloseTo(0.8 / 3, 12);
    expect(macroF1({ units: 1, totals: { x: 1 } })).toBeNull();
  });

  it('Matthews’ coefficient supports more than two labels', () => {
    // y_true [+1 +1 +1 -1], y_pred [+1 -1 +1 +1]: -0.333…
    const two = { single: 4, 'tp/1': 2, 'fn/1': 1, 'fp/0': 1, 'fp/1': 1, 'fn/0': 1 };
    expect(matthews({ units: 4, totals: two })).toBeCloseTo(-1 / 3, 12);
    expect(matthews({ units: 6, totals })).toBeCloseTo(0, 12);
    expect(matthews({ units: 2, totals: { single: 2, 'tp/0': 2 } })).toBe(0);
    expect(matthews({ units: 2, totals: { 'tp/0': 2 } })).toBeNull();
  });

  it('Pearson’s coefficient is computed for scores only', () => {
    const [x, y] = [
      [1, 2, 3, 4],
      [2, 1, 4, 3],
    ] as const;
    const sum = (of: (i: number) => number): number => x.reduce((s, _, i) => s + of(i), 0);
    const sums = {
      x: sum((i) => x[i]!),
      y: sum((i) => y[i]!),
      xx: sum((i) => x[i]! ** 2),
      yy: sum((i) => y[i]! ** 2),
      xy: sum((i) => x[i]! * y[i]!),
    };
    expect(pearson({ units: 4, totals: sums })).toBeCloseTo(0.6, 12);
    expect(pearson({ units: 4, totals: {} })).toBeNull();
  });

  it('are null if they do not apply to the problem type', () => {
    const names = (sums: Record<string, number>) =>
      seqCls.metrics
        .filter(({ of }) => of({ units: 2, totals: { loss: 1, ...sums } }) !== null)
        .map(({ name }) => name);
    expect(names({ single: 2, right: 1, 'tp/0': 1, 'fp/0': 1, 'fn/1': 1 })).toEqual([
      'loss',
      'accuracy',
      'f1',
      'matthews_correlation',
    ]);
    expect(names({ right: 1, 'tp/0': 1 })).toEqual(['loss', 'accuracy', 'f1']);
    expect(names({ x: 3, y: 3, xx: 5, yy: 5, xy: 4 })).toEqual(['loss', 'pearson']);
  });
});
