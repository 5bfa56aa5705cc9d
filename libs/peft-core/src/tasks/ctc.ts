/**
 * Speech recognition with CTC (Graves et al. 2006): each encoder row of an audio clip predicts a token or
 * blank.
 *   loss = -log Σ p(π | x)   over all alignments π that yield the text y after merging repeated tokens and
 *                            removing blanks
 * for an example. The loss of a step is their mean, each divided by its number of tokens, or their sum, as
 * in Transformers. Vocabulary and head (`lm_head`) are the base model's, or the run's own, built from the
 * characters of its texts (own-vocabulary.ts).
 */
import {
  add,
  argmax,
  backward,
  ctcLoss,
  div,
  logSoftmax,
  mul,
  narrow,
  tensor,
  tidy,
  type Tensor,
} from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { CtcTokenizer } from '../data/audio/ctc-tokenizer.js';
import { basicText } from './text-metrics/text-normalizer.js';
import { MAX_VALUES } from '../data/audio/audio-clip.js';
import type { ClipFacts } from '../data/audio/audio-clips.js';
import { mediaBytes } from '../data/data-url.js';
import { packFeatures } from './batches/pack.js';
import type { Processor } from '../data/processor.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import type { CtcOptions } from '../nn/outline/stack-options.js';
import { mediaInput } from './records/media-records.js';
import {
  ctcHead,
  VocabularyNotes,
  vocabularyOptions,
  VocabularySurvey,
  ownBlank,
  ownVocabulary,
  tokenizerOf,
} from './speech/own-vocabulary.js';
import { refuseProblems } from './records/record-checks.js';
import { clipsOf, sequenceOf, windowOf, type AudioExample } from './speech/audio-clips.js';
import { addTotals, defineTask, mean } from './task.js';
import type { Encoded, EncodeOptions, OwnVocabulary, Share, Sums } from './task.js';
import { TRANSCRIPT_METRICS, transcriptErrors } from './text-metrics/transcript-errors.js';
import { transcripts } from './records/transcript-records.js';

interface CtcExample extends AudioExample {
  readonly target: Int32Array;
  readonly tokenizer: CtcTokenizer;
  readonly text: string;
  /** Weight in the mean of a step: 1, or 0 for reduction "sum", which has no mean. */
  readonly unit: 0 | 1;
}

interface Prepared {
  readonly bytes: Uint8Array;
  readonly text: string;
  readonly tokenizer: CtcTokenizer;
  /** Whether a text without any character of the vocabulary is accepted. */
  readonly isFound: boolean;
  readonly unit: 0 | 1;
}

const Options = z.strictObject({
  ctc_loss_reduction: z
    .enum(['mean', 'sum'])
    .default('mean')
    .describe(
      'Loss of a step: "mean" averages the examples, each divided by its number of tokens; "sum" adds them, so long texts weigh more',
    ),
  ...vocabularyOptions,
});
type Options = z.infer<typeof Options>;

export const ctc = defineTask<CtcExample, Prepared, Options>({
  name: 'ctc',
  title: 'Speech recognition (CTC)',
  summary:
    'Learns to transcribe audio with the vocabulary of the base, or with the characters of your texts.',
  peft: { taskType: null, models: 'CTC', pipeline: 'automatic-speech-recognition' },
  inputs: 'audio',
  stacks: ['encoder'],
  method: 'supervised',
  head: ctcHead,
  vocabulary: ownVocabulary as OwnVocabulary<Options>,
  options: Options,
  ...transcripts,
  survey: (options) => new VocabularySurvey(options),
  notes: (options, processor) => new VocabularyNotes(options, processor),
  prepare: ({ audio, text }, processor, options) => ({
    bytes: mediaBytes('audio', audio, 'audio'),
    text: text as string,
    tokenizer: tokenizerOf(options, processor),
    isFound: options.vocabulary_from_data,
    unit: options.ctc_loss_reduction === 'mean' ? 1 : 0,
  }),
  encode: encoded,
  varied: (example, key) => ({ ...example, key }),
  units: ({ unit }) => unit,
  loss(model, shares, ctx, scales) {
    const rows = logitsOf(model, shares, ctx);
    const sums = new Map<number, Sums>();
    const weighed = shares.map(({ run, examples, options }, i) => {
      const losses = examples.map((example, j) => lossOf((rows[i] as Tensor[])[j] as Tensor, example, ctcOf(model, options), options)); // prettier-ignore
      const loss = losses.reduce((a, b) => add(a, b));
      // Evaluations report a mean with both reductions.
      const units = examples.reduce((sum, { unit }) => sum + (scales ? unit : 1), 0);
      const errors = scales ? [] : examples.map((example, j) => errorsOf(example, (rows[i] as Tensor[])[j] as Tensor)); // prettier-ignore
      const totals = errors.reduce(addTotals, { loss: loss.item() });
      sums.set(run, { units, totals });
      return mul(loss, scales?.get(run) ?? 0);
    });
    if (scales) backward([weighed.reduce((a, b) => add(a, b))], [null]);
    return sums;
  },
  infer: {
    kind: 'transcribe',
    record: (input) => mediaInput(input, 'audio'),
    encode(records, processor, { maxSeqLen, taskOptions }) {
      const files = records.map(({ audio }) => mediaBytes('audio', audio, 'audio'));
      const tokenizer = tokenizerOf(taskOptions, processor);
      const clip = clipsOf(files, processor, { maxSeqLen, store: null }, MAX_VALUES);
      const found = clip.map((one) => withoutTarget(one, tokenizer));
      refuseProblems(found);
      return found;
    },
    window(samples, processor, { maxSeqLen, taskOptions }) {
      const tokenizer = tokenizerOf(taskOptions, processor);
      const found = withoutTarget(windowOf(samples, processor, maxSeqLen), tokenizer);
      refuseProblems([found]);
      return found;
    },
    answer: (model, shares, ctx) =>
      tidy(() => {
        const rows = logitsOf(model, shares, ctx);
        return shares.flatMap(({ examples }, i) =>
          examples.map(({ tokenizer }, j) => ({
            text: tokenizer.decode(likeliest((rows[i] as Tensor[])[j] as Tensor)),
          })),
        );
      }),
  },
  chance: () => ({ loss: Infinity, of: 'among tokens', isStart: false }),
  metrics: [
    {
      name: 'loss',
      title: 'Loss',
      unit: null,
      draw: { smooth: true, log: true },
      of: mean('loss'),
    },
    ...TRANSCRIPT_METRICS,
  ],
});

function encoded(
  prepared: readonly Prepared[],
  processor: Processor,
  options: EncodeOptions,
): Encoded<CtcExample>[] {
  const clip = clipsOf(
    prepared.map(({ bytes }) => bytes),
    processor,
    options,
  );
  return prepared.map(({ text, tokenizer, isFound, unit }, i) => {
    const one = clip[i] as ClipFacts | string;
    const target = targetOf(text, tokenizer, isFound);
    if (typeof target === 'string')
      return exampleOf(target, { tokenizer, target: NOTHING, text, unit });
    const found = exampleOf(one, { tokenizer, target, text, unit });
    return { ...found, problem: found.problem ?? tooLong(target, one as ClipFacts) };
  });
}

const NOTHING = new Int32Array();

/** Creates an example for inference, without a transcript. */
const withoutTarget = (facts: ClipFacts | string, tokenizer: CtcTokenizer): Encoded<CtcExample> =>
  exampleOf(facts, { tokenizer, target: NOTHING, text: '', unit: 1 });

function exampleOf(
  facts: ClipFacts | string,
  labels: Pick<CtcExample, 'tokenizer' | 'target' | 'text' | 'unit'>,
): Encoded<CtcExample> {
  const isRead = typeof facts !== 'string';
  const rows = isRead ? facts.rows : 1;
  const clip = isRead ? facts.clip : null;
  const { length } = labels.target;
  const media = isRead ? facts.seconds : 0;
  return {
    example: { ...labels, clip, key: null, rows, audioRows: rows, tokenCount: length, media },
    longest: rows,
    supervised: length,
    lost: false,
    problem: isRead ? null : facts,
  };
}

/** Returns the token ids of a text, or why it cannot be used for training. */
function targetOf(text: string, tokenizer: CtcTokenizer, isFound: boolean): Int32Array | string {
  try {
    const ids = tokenizer.encode(text);
    const isKnown =
      isFound || ids.some((id) => id !== tokenizer.unknown && id !== tokenizer.delimiter);
    return isKnown ? Int32Array.from(ids) : `the text has no character of the job's vocabulary, ${tokenizer.sample}; write it in those characters or, unless the job starts from an adapter, set graft.task_options.vocabulary_from_data`; // prettier-ignore
  } catch (error) {
    if (error instanceof DomainError) return error.message;
    throw error;
  }
}

/**
 * Returns an error if the text needs more rows than the audio has. Repeated tokens need a row between
 * them.
 */
function tooLong(target: Int32Array, { seconds, rows }: ClipFacts): string | null {
  const twice = target.filter((letter, i) => letter === target[i - 1]).length;
  const needed = target.length + twice;
  return needed <= rows
    ? null
    : `the text has ${target.length} tokens and needs ${needed} frames, but the base makes ${rows} of the ${seconds.toFixed(1)} s of audio; check that they belong together, or shorten the text`;
}

/** Returns the logits of each example by share: [rows, vocabulary]. */
function logitsOf(
  model: Model,
  shares: readonly Share<CtcExample, Options>[],
  ctx: BatchContext,
): Tensor[][] {
  const packed = packFeatures(
    shares.flatMap(({ run, examples }) =>
      examples.map((example) => ({ run, ...sequenceOf(example, model, ctx) })),
    ),
  );
  const { encoder } = model.forward({ encoder: packed, decoder: null }, ctx);
  let [at, from] = [0, 0];
  return shares.map(({ run, examples }) => {
    const own = packed.sequences.slice(at, (at += examples.length));
    const length = own.reduce((sum, sequence) => sum + sequence.length, 0);
    const rows = narrow(encoder.hidden, 0, from, length);
    const within = { ...ctx, rows: [{ run, start: 0, length }] };
    const logits = model.modules.heads.get(run)?.forward(rows, within) ?? model.head('lm', rows, within); // prettier-ignore
    const found = own.map(({ start, length: n }) => narrow(logits, 0, start - from, n));
    from += length;
    return found;
  });
}

/**
 * Returns the CTC options with the blank of the run's own vocabulary, if it has one. `ctc_zero_infinity`
 * comes from config.json in both cases.
 */
function ctcOf({ ctc, config }: Model, options: Options): CtcOptions {
  const blank = ownBlank(options);
  if (blank === null) return ctc as CtcOptions;
  return { blank, zeroInfinity: config['ctc_zero_infinity'] === true };
}

/** Computes the loss of an example from log-probabilities in f32, as Transformers does. */
function lossOf(
  logits: Tensor,
  { target }: CtcExample,
  ctc: CtcOptions,
  { ctc_loss_reduction: reduction }: Options,
): Tensor {
  const wanted = tensor(BigInt64Array.from(target, BigInt), [target.length]);
  const loss = ctcLoss(logSoftmax(logits, -1, 'f32'), wanted, ctc);
  return reduction === 'sum' ? loss : div(loss, target.length);
}

const errorsOf = ({ tokenizer, text }: CtcExample, logits: Tensor): Sums['totals'] =>
  transcriptErrors(tokenizer.decode(likeliest(logits)), text, basicText);

const likeliest = (logits: Tensor): number[] =>
  Array.from(argmax(logits, -1).toArray() as BigInt64Array, Number);
