/**
 * Classification of a text or a pair of texts, as in Transformers' models. z: logits of a sequence,
 * [labels].
 *   single label   loss = -log softmax(z)_y
 *   multi-label    loss = mean over the labels of -(y log σ(z) + (1 - y) log σ(-z)),  y 0 or 1 for each
 *   regression     loss = (z - y)²
 * and the mean over the examples of a whole optimizer step.
 */
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { JsonObject } from '../data/json-line.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { confusionOf } from './labels/confusion.js';
import type { HeadShare, TypedSequence } from './heads/head-outputs.js';
import type { Labelled } from './labels/label-losses.js';
import { matthews, pearson } from './labels/label-metrics.js';
import { LabelSurvey, PROBLEMS } from './labels/label-survey.js';
import {
  chanceOf,
  checkLabel,
  labelAnswers,
  labelLoss,
  LABEL_METRICS,
  targetOf,
} from './labels/label-task.js';
import { labelVariety } from './labels/label-variety.js';
import { labelConfig, labelFact, labelNames } from './labels/labels.js';
import { checkText, missingFormat, unknownKey } from './records/record-checks.js';
import { defineTask, type Encoded, type EncodeOptions, type Example, type Share } from './task.js';

/** Text or pair of texts with its target. */
interface LabelledText extends Example, TypedSequence, Labelled {}

interface Prepared {
  readonly text: string | readonly [string, string];
  readonly target: Float64Array;
}

const Options = z
  .strictObject({
    problem_type: z
      .enum(PROBLEMS)
      .nullable()
      .default(null)
      .describe(
        'Label type: single label, multi-label or a score (regression). Detected from the training file by default: lists mean multi-label, numbers with fractions a score',
      ),
    labels: labelNames,
  })
  .superRefine(({ problem_type: problem, labels }, ctx) => {
    const issue = (message: string): void =>
      ctx.addIssue({ code: 'custom', message, path: ['labels'] });
    if (problem === 'regression' && labels !== null)
      issue('a regression has no labels; remove them');
    if (problem === 'single_label_classification' && labels?.length === 1)
      issue('expected at least 2 labels, got 1');
  });
type Options = z.infer<typeof Options>;

const KEYS = ['text', 'text_pair', 'label'];
const FORMATS = '{"text","label"} or {"text","text_pair","label"}';

export const seqCls = defineTask<LabelledText, Prepared, Options>({
  name: 'seq_cls',
  title: 'Text classification',
  summary:
    'Learns to label texts or pairs of texts: single label, multi-label or a score (regression).',
  peft: {
    taskType: 'SEQ_CLS',
    models: 'SequenceClassification',
    pipeline: 'text-classification',
  },
  stacks: ['encoder', 'decoder'],
  method: 'supervised',
  head: {
    kind: 'classification',
    outputs: ({ problem_type: problem, labels }) =>
      problem === 'regression' ? 1 : (labels?.length ?? 2),
    config: ({ problem_type, labels }) => ({
      problem_type,
      ...labelConfig(problem_type === 'regression' ? ['LABEL_0'] : (labels ?? [])),
    }),
  },
  options: Options,
  records: [
    {
      name: 'classification',
      keys: ['text', 'label'],
      commonKeys: true,
      more: ['text_pair'],
      cells: { label: 'label' },
      nouns: ['labeled text', 'labeled texts'],
      line: '{"text":"…","label":"…"}',
      learnt: ['label'],
    },
  ],
  labelled: true,
  check(record) {
    if (!Object.hasOwn(record, 'label')) return missingFormat(record, FORMATS);
    const { text, text_pair: pair, label } = record;
    return (
      unknownKey(record, KEYS) ??
      checkText('text', text) ??
      (pair === undefined ? null : checkText('text_pair', pair)) ??
      checkLabel(label)
    );
  },
  facts: ({ text, text_pair: pair, label }) => ({
    format: 'classification',
    ignored: [],
    identity: [
      text as string,
      ...(pair === undefined ? [] : [pair as string]),
      JSON.stringify(label),
    ],
    chats: [],
    ...labelFact(label),
  }),
  balance: (labels, { problem_type: problem }) =>
    problem === 'regression' ? null : labelVariety(labels, 'training file'),
  survey: (options) => new LabelSurvey(options),
  prepare: (record, _, options) => ({
    text: textOf(record),
    target: targetOf(record['label'], options),
  }),
  encode(prepared, { tokenizer }, options) {
    const targets = prepared.map(({ target }) => target);
    return encoded(
      prepared.map(({ text }) => text),
      targets,
      tokenizer,
      options,
    );
  },
  units: () => 1,
  loss: (model, shares, ctx, scales) => labelLoss(model, shares, readOf(shares), ctx, scales),
  infer: {
    kind: 'classify',
    record(input) {
      const given = Array.isArray(input)
        ? { text: input[0] as unknown, text_pair: input[1] as unknown }
        : typeof input === 'string'
          ? { text: input }
          : input;
      const wrong = checkInput(given, Array.isArray(input) ? input.length : 2);
      if (wrong !== null) throw new DomainError('invalid_value', wrong);
      return given as JsonObject;
    },
    encode: (records, { tokenizer }, options) =>
      encoded(
        records.map(textOf),
        records.map(() => new Float64Array()),
        tokenizer,
        options,
      ),
    answer: (model, shares, ctx) => labelAnswers(model, shares, readOf(shares), ctx),
  },
  confusion: confusionOf,
  chance: (_, { task_options: options }) => chanceOf(options as Options),
  metrics: [
    ...LABEL_METRICS,
    {
      name: 'matthews_correlation',
      title: 'Matthews correlation',
      unit: null,
      draw: { smooth: true, log: false },
      of: matthews,
    },
    {
      name: 'pearson',
      title: 'Pearson correlation',
      unit: null,
      draw: { smooth: true, log: false },
      of: pearson,
    },
  ],
});

function checkInput(given: unknown, length: number): string | null {
  if (given === null || typeof given !== 'object' || length < 1 || length > 2)
    return 'expected a text, a pair of texts, or {"text","text_pair"}';
  const { text, text_pair: pair } = given as JsonObject;
  return (
    unknownKey(given as JsonObject, ['text', 'text_pair']) ??
    checkText('text', text) ??
    (pair === undefined ? null : checkText('text_pair', pair))
  );
}

const textOf = ({ text, text_pair: pair }: JsonObject): Prepared['text'] =>
  pair === undefined ? (text as string) : [text as string, pair as string];

const readOf = (shares: readonly Share<LabelledText, Options>[]): HeadShare[] =>
  shares.map(({ run, examples }) => ({ run, sequences: examples }));

function encoded(
  texts: readonly Prepared['text'][],
  targets: readonly Float64Array[],
  tokenizer: Tokenizer,
  { maxSeqLen: maxLength }: EncodeOptions,
): Encoded<LabelledText>[] {
  const inputs = tokenizer.encodeCut(texts, maxLength);
  return inputs.map(({ ids, types, texts: of, longest }, i) => ({
    example: {
      tokens: ids,
      types: types.some((type) => type !== 0) ? types : null,
      target: targets[i] as Float64Array,
      rows: ids.length,
      tokenCount: ids.length,
    },
    longest,
    supervised: 1,
    lost: of.every((text) => text < 0),
  }));
}
