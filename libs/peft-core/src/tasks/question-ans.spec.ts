import { describe, expect, it } from 'vitest';
import { wordPieceTokenizer } from '../../test/word-piece.js';
import { Processor } from '../data/processor.js';
import type { JsonObject } from '../data/json-line.js';
import { questionAns } from './question-ans.js';
import { exactMatch, sharedWords } from './text-metrics/squad.js';

const tokenizer = wordPieceTokenizer(['hello', 'world', '##ly', 'friend', 'a', 'b', 'c']);
const processor = new Processor({ tokenizer });
const OPTIONS = questionAns.options.parse({});
const question = { question: 'a', context: 'hello friendly world' };
const answer = (text: string, start: number) => ({ text: [text], answer_start: [start] });

describe('a record', () => {
  it.each<[JsonObject]>([
    [{ ...question, answers: answer('friend', 6) }],
    [{ ...question, id: '7', title: 'x', answers: [{ text: 'world', answer_start: 15 }] }],
    [{ ...question, answers: { text: [], answer_start: [] } }],
    [{ question: 'a', context: 'a 🦊 b', answers: answer('b', 4) }],
  ])('accepts %j', (record) => expect(questionAns.check(record)).toBeNull());

  it.each<[JsonObject, RegExp]>([
    [{ text: 'a' }, /must be \{"question","context","answers"\}/],
    [{ ...question, answers: answer('world', 14) }, /"world" is not at character 14 of "context"/],
    [{ ...question, answers: answer('', 3) }, /answer 0 has no text/],
    [{ ...question, answers: answer('a', -1) }, /"answer_start" of answer 0 must be an integer/],
    [{ ...question, answers: { text: ['a'], answer_start: [] } }, /lists of equal length/],
    [{ ...question, question: '', answers: [] }, /"question" is empty/],
    [{ ...question, answers: [], x: 1 }, /unknown key "x"/],
  ])('rejects %j', (record, reason) => expect(questionAns.check(record)).toMatch(reason));
});

it('detects in the training file whether answers may be missing, unless it is given', () => {
  const survey = (given: object, records: JsonObject[]) => {
    const found = questionAns.survey!({ ...OPTIONS, ...given });
    const reasons = records.map((record) => found.see(record)).filter((one) => one !== null);
    return { reasons, options: found.options().version_2_with_negative };
  };
  const [has, lacks] = [{ answers: answer('a', 0) }, { answers: [] }];
  expect(survey({}, [has])).toEqual({ reasons: [], options: false });
  expect(survey({}, [has, lacks])).toEqual({ reasons: [], options: true });
  const refused = survey({ version_2_with_negative: false }, [lacks]).reasons;
  expect(refused).toEqual([expect.stringContaining('"answers" is empty')]);
});

describe('examples', () => {
  const encode = (record: JsonObject, maxSeqLen = 32, stride = 1) => {
    const options = { ...OPTIONS, doc_stride: stride };
    const prepared = questionAns.prepare(record, processor, options);
    return questionAns.encode([prepared], processor, { maxSeqLen })[0]!;
  };

  it('have the first and last token of the answer as target', () => {
    const { example } = encode({ ...question, answers: answer('friendly', 6) });
    const [window] = example.windows;
    // [CLS] a [SEP] hello friend ##ly world [SEP]
    expect([...window!.tokens]).toEqual([2, 9, 3, 5, 8, 7, 6, 3]);
    expect([...window!.types!]).toEqual([0, 0, 0, 1, 1, 1, 1, 1]);
    expect(window!.target).toEqual([4, 5]);
    expect([...window!.from]).toEqual([-1, -1, -1, 0, 6, 12, 15, -1]);
    expect(questionAns.units(example, null)).toBe(1);
  });

  it('split a long context into windows; only whole answers are targets', () => {
    const record = {
      question: 'hello a',
      context: 'world a b c a b c',
      answers: answer('c a', 10),
    };
    const { example, longest } = encode(record, 8);
    // Output of the tokenizers package with truncation "only_second" and a stride of 1.
    expect(example.windows.map(({ tokens }) => [...tokens])).toEqual([
      [2, 5, 9, 3, 6, 9, 10, 3],
      [2, 5, 9, 3, 10, 11, 9, 3],
      [2, 5, 9, 3, 9, 10, 11, 3],
    ]);
    expect(example.windows.map(({ target }) => target)).toEqual([
      [0, 0],
      [5, 6],
      [0, 0],
    ]);
    expect([longest, example.rows]).toEqual([8, 24]);
  });

  it('target the first token without an answer, and have no windows if the question is too long', () => {
    expect(encode({ ...question, answers: [] }).example.windows[0]?.target).toEqual([0, 0]);
    const { lost, example } = encode({ ...question, answers: [] }, 4);
    expect([lost, example.windows.length]).toEqual([true, 0]);
  });

  it('for inference use the adapter’s stride', () => {
    const input = { question: 'hello a', context: 'world a b c a b c' };
    const windows = (stride: number): number => {
      const taskOptions = { ...OPTIONS, doc_stride: stride };
      const how = { maxSeqLen: 8, vocabSize: 99, taskOptions };
      return questionAns.infer!.encode([input], processor, how)[0]!.example.windows.length;
    };
    expect([windows(1), windows(2)]).toEqual([3, 5]);
  });

  it('for inference have a question and a context', () => {
    expect(questionAns.infer!.record(['a', 'b'])).toEqual({ question: 'a', context: 'b' });
    expect(questionAns.infer!.record(question)).toEqual(question);
    for (const wrong of ['a', ['a'], { question: 'a' }, { ...question, answers: [] }, null])
      expect(() => questionAns.infer!.record(wrong)).toThrow();
  });
});

// SQuAD's evaluate-v2.0.py
it.each<[string, string[], number, number]>([
  ['The Norman', ['norman!'], 1, 1],
  ['in the 10th century', ['10th century', '10th'], 0, 0.8],
  ['', [], 1, 1],
  ['something', [], 0, 0],
  ['', ['something'], 0, 0],
  ['a b b', ['b b c'], 0, 0.8],
])('%j against %j', (found, right, exact, shared) => {
  expect(exactMatch(found, right)).toBe(exact);
  expect(sharedWords(found, right)).toBeCloseTo(shared, 12);
});
