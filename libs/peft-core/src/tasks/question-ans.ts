/**
 * Extractive question answering, as in Transformers' models. z: logits of a token, [2], in a window of T
 * tokens; the softmax is over the T tokens.
 *   loss = -½ (log softmax(z₀)_s + log softmax(z₁)_e)     s, e: first and last answer token
 * and the mean over the windows of a whole optimizer step. In windows without the answer, s and e are the
 * first token.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  backward,
  crossEntropy,
  mul,
  narrow,
  noGrad,
  tensor,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { JsonObject } from '../data/json-line.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import { placesOf, windowsOf, type Window } from './heads/context-windows.js';
import { headOutputs } from './heads/head-outputs.js';
import { checkText, missingFormat, unknownKey } from './records/record-checks.js';
import {
  answersIn,
  exactMatch,
  part,
  pointsIn,
  sharedWords,
  type Answer,
} from './text-metrics/squad.js';
import { defineTask, mean, type Encoded, type Example } from './task.js';
import type { Share, Sums } from './task.js';

interface TrainedWindow extends Window {
  /** First and last token of the answer. */
  readonly target: readonly [number, number];
}

interface QuestionExample extends Example {
  readonly context: string;
  readonly answers: readonly string[];
  readonly windows: readonly TrainedWindow[];
}

interface Prepared {
  readonly question: string;
  readonly context: string;
  readonly answers: readonly Answer[];
  readonly stride: number;
}

const Options = z.strictObject({
  doc_stride: z
    .int()
    .min(0)
    .max(4096)
    .default(128)
    .describe('Tokens that two successive windows of a long context share'),
  max_answer_length: z.int().min(1).max(1000).default(30).describe('Maximum tokens of an answer'),
  version_2_with_negative: z
    .boolean()
    .nullable()
    .default(null)
    .describe(
      'Whether a context may have no answer. Default: yes if a record of the training file has none',
    ),
});
type Options = z.infer<typeof Options>;

const KEYS = ['question', 'context', 'answers'];
const MORE = ['id', 'title'];
/** Number of start and of end candidates per window. */
const TRIED = 20;

export const questionAns = defineTask<QuestionExample, Prepared, Options>({
  name: 'question_ans',
  title: 'Question answering',
  summary: 'Learns to find the words of a text that answer a question, as in SQuAD. For encoders.',
  peft: { taskType: 'QUESTION_ANS', models: 'QuestionAnswering', pipeline: 'question-answering' },
  stacks: ['encoder'],
  method: 'supervised',
  head: { kind: 'span', outputs: () => 2, config: () => ({}) },
  options: Options,
  records: [
    {
      name: 'question',
      keys: KEYS,
      commonKeys: true,
      more: MORE,
      cells: { answers: 'json' },
      nouns: ['question with its answer', 'questions with answers'],
      line: '{"question":"…","context":"…","answers":{"text":["…"],"answer_start":[0]}}',
      learnt: ['answers'],
    },
  ],
  check(record) {
    if (!KEYS.some((key) => Object.hasOwn(record, key)) || !Object.hasOwn(record, 'context'))
      return missingFormat(record, '{"question","context","answers"}');
    const { question, context, answers } = record;
    const wrong =
      unknownKey(record, [...KEYS, ...MORE]) ??
      checkText('question', question) ??
      checkText('context', context);
    if (wrong !== null) return wrong;
    const found = answersIn(answers);
    return typeof found === 'string' ? found : checkPlaces(context as string, found);
  },
  facts: ({ question, context, answers }) => ({
    format: 'question',
    ignored: [],
    identity: [question as string, context as string, JSON.stringify(answers)],
    chats: [],
  }),
  survey(options) {
    let isNegative = options.version_2_with_negative === true;
    return {
      see({ answers }) {
        const hasAnswer = answersIn(answers).length > 0;
        if (hasAnswer) return null;
        if (options.version_2_with_negative === false)
          return '"answers" is empty; set version_2_with_negative if a context may have no answer';
        isNegative = true;
        return null;
      },
      options: () => ({ ...options, version_2_with_negative: isNegative }),
    };
  },
  prepare: ({ question, context, answers }, _, { doc_stride: stride }) => ({
    question: question as string,
    context: context as string,
    answers: answersIn(answers) as readonly Answer[],
    stride,
  }),
  encode: (prepared, { tokenizer }, { maxSeqLen }) => encoded(prepared, tokenizer, maxSeqLen),
  units: ({ windows }) => windows.length,
  loss(model, shares, ctx, scales) {
    const outputs = outputsOf(model, shares, ctx);
    const sums = new Map<number, Sums>();
    const weighed = shares.map(({ run, examples, options }, i) => {
      const logits = outputs[i] as Tensor;
      const windows = examples.flatMap((example) => example.windows);
      const loss = lossOf(logits, windows);
      const values = noGrad(() => logits.detach().toArray() as Float32Array);
      const totals = { loss: loss.item(), ...scored(values, examples, options) };
      sums.set(run, { units: windows.length, totals });
      return mul(loss, scales?.get(run) ?? 0);
    });
    if (scales) backward([weighed.reduce((a, b) => add(a, b))], [null]);
    return sums;
  },
  infer: {
    kind: 'classify',
    record(input) {
      const given = Array.isArray(input)
        ? { question: input[0] as unknown, context: input[1] as unknown }
        : (input as JsonObject | null);
      const isPair = !Array.isArray(input) || input.length === 2;
      if (given === null || typeof given !== 'object' || !isPair)
        throw new DomainError(
          'invalid_value',
          'expected {"question","context"} or a pair of these',
        );
      const wrong =
        unknownKey(given, ['question', 'context']) ??
        checkText('question', given['question']) ??
        checkText('context', given['context']);
      if (wrong !== null) throw new DomainError('invalid_value', wrong);
      return given;
    },
    encode: (records, { tokenizer }, { maxSeqLen, taskOptions: { doc_stride: stride } }) =>
      encoded(
        records.map(({ question, context }) => ({
          question: question as string,
          context: context as string,
          answers: [],
          stride,
        })),
        tokenizer,
        maxSeqLen,
      ),
    answer: (model, shares, ctx) =>
      tidy(() => {
        const outputs = outputsOf(model, shares, ctx);
        return shares.flatMap(({ examples, options }, i) =>
          found((outputs[i] as Tensor).toArray() as Float32Array, examples, options),
        );
      }),
  },
  chance: () => ({ loss: Infinity, of: 'a place', isStart: true }),
  metrics: [
    {
      name: 'loss',
      title: 'Loss',
      unit: null,
      draw: { smooth: true, log: true },
      of: mean('loss'),
    },
    {
      name: 'exact_match',
      title: 'Exact match',
      unit: '%',
      draw: { smooth: true, log: false },
      of: ({ totals: { exact = 0, examples = 0 } }) => exact / Math.max(1, examples),
    },
    {
      name: 'f1',
      title: 'Word F1',
      unit: '%',
      draw: { smooth: true, log: false },
      of: ({ totals: { shared = 0, examples = 0 } }) => shared / Math.max(1, examples),
    },
  ],
});

function checkPlaces(context: string, answers: readonly Answer[]): string | null {
  const wrong = answers.find(
    ({ text, start }) => part(context, start, start + pointsIn(text)) !== text,
  );
  return wrong === undefined
    ? null
    : `the answer ${JSON.stringify(wrong.text.slice(0, 60))} is not at character ${wrong.start} of "context"`;
}

function encoded(
  prepared: readonly Prepared[],
  tokenizer: Tokenizer,
  maxSeqLen: number,
): Encoded<QuestionExample>[] {
  const inputs = tokenizer.encodeInputs(
    prepared.map(({ question, context }) => [question, context] as const),
  );
  return inputs.map((input, i) => {
    const { context, answers, stride } = prepared[i] as Prepared;
    const [answer] = answers.map(({ text, start }) => ({ start, end: start + pointsIn(text) }));
    const windows = windowsOf(input, maxSeqLen, stride).map((window): TrainedWindow => ({
      ...window,
      target: placesOf(window, answer ?? null),
    }));
    const rows = windows.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const texts = answers.map(({ text }) => text);
    return {
      example: { context, answers: texts, windows, rows, tokenCount: rows },
      // Nothing is truncated: tokens that do not fit are in another window.
      longest: Math.min(maxSeqLen, input.ids.length),
      supervised: 2 * windows.length,
      lost: windows.length === 0,
    };
  });
}

/** Returns the outputs for all tokens of all windows, by share: [tokens, 2]. */
function outputsOf(
  model: Model,
  shares: readonly Share<QuestionExample, Options>[],
  ctx: BatchContext,
): Tensor[] {
  const read = shares.map(({ run, examples }) => ({
    run,
    sequences: examples.flatMap(({ windows }) => windows),
  }));
  return headOutputs(model, read, ctx).map((logits) => to(logits, 'f32'));
}

/** Returns the sum over the windows. */
function lossOf(logits: Tensor, windows: readonly TrainedWindow[]): Tensor {
  let at = 0;
  return windows
    .map(({ tokens, target }) => {
      const rows = narrow(logits, 0, at, tokens.length);
      at += tokens.length;
      const wanted = tensor(BigInt64Array.from(target, BigInt), [2]);
      return crossEntropy(transpose(rows, 0, 1), wanted);
    })
    .reduce((a, b) => add(a, b));
}

interface Found {
  readonly answer: string;
  readonly start: number;
  readonly end: number;
  readonly score: number;
}

const NOTHING: Found = { answer: '', start: 0, end: 0, score: -Infinity };

/**
 * Returns the best answer of each example over all of its windows. Empty if "no answer" is allowed and has
 * at least the same score.
 */
function found(
  values: Float32Array,
  examples: readonly QuestionExample[],
  options: Options,
): Found[] {
  let at = 0;
  return examples.map(({ context, windows }) => {
    let best = NOTHING;
    let none = Infinity;
    for (const window of windows) {
      const rows = values.subarray(2 * at, 2 * (at + window.tokens.length));
      at += window.tokens.length;
      none = Math.min(none, (rows[0] as number) + (rows[1] as number));
      const one = bestOf(rows, window, options.max_answer_length);
      if (one && one.score > best.score) {
        const [start, end] = [window.from[one.first] as number, window.to[one.last] as number];
        best = { answer: part(context, start, end).trim(), start, end, score: one.score };
      }
    }
    const isNone = options.version_2_with_negative === true && none >= best.score;
    return isNone ? { ...NOTHING, score: none } : best;
  });
}

interface Span {
  readonly first: number;
  readonly last: number;
  /** Sum of two logits. */
  readonly score: number;
}

function bestOf(rows: Float32Array, { from }: Window, most: number): Span | null {
  const places = Array.from(from.keys()).filter((i) => (from[i] as number) >= 0);
  const top = (side: 0 | 1): number[] =>
    places
      .toSorted((a, b) => (rows[2 * b + side] as number) - (rows[2 * a + side] as number))
      .slice(0, TRIED);
  const ends = top(1);
  let best: Span | null = null;
  for (const first of top(0))
    for (const last of ends) {
      if (last < first || last - first >= most) continue;
      const score = (rows[2 * first] as number) + (rows[2 * last + 1] as number);
      if (score > (best?.score ?? -Infinity)) best = { first, last, score };
    }
  return best;
}

function scored(
  values: Float32Array,
  examples: readonly QuestionExample[],
  options: Options,
): Record<string, number> {
  const totals = { examples: examples.length, exact: 0, shared: 0 };
  for (const [i, { answer }] of found(values, examples, options).entries()) {
    const { answers } = examples[i] as QuestionExample;
    totals.exact += exactMatch(answer, answers);
    totals.shared += sharedWords(answer, answers);
  }
  return totals;
}
