/**
 * Speech recognition with CTC (Graves et al. 2006): each encoder row of an audio clip predicts a token or
 * blank.
 *   loss = -log Σ p(π | x)   over all alignments π that yield the text y after merging repeated tokens and
 *                            removing blanks
 * for an example. The loss of a step is their mean, each divided by its number of tokens, or their sum, as
 * in Transformers. Vocabulary and head (`lm_head`) are the base model's, or the run's own, built from the
 * characters of its texts (own-letters.ts).
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
import { MAX_VALUES } from '../data/audio/sound.js';
import type { Heard } from '../data/audio/sounds.js';
import { mediaBytes } from '../data/data-url.js';
import { packFeatures } from './batches/pack.js';
import type { Processor } from '../data/processor.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import type { CtcOptions } from '../nn/outline/stack-options.js';
import { mediaInput } from './records/media-records.js';
import {
  letterHead,
  LetterNotes,
  letterOptions,
  LetterSurvey,
  ownBlank,
  ownLetters,
  tokenizerOf,
} from './speech/own-letters.js';
import { refuseProblems } from './records/record-checks.js';
import { heardOf, sequenceOf, windowOf, type SoundExample } from './speech/sounds.js';
import { addTotals, defineTask, mean } from './task.js';
import type { Encoded, EncodeOptions, OwnLetters, Share, Sums } from './task.js';
import { TRANSCRIPT_METRICS, transcriptErrors } from './text-metrics/transcript-errors.js';
import { transcripts } from './records/transcript-records.js';

interface SpeltSound extends SoundExample {
  readonly target: Int32Array;
  readonly letters: CtcTokenizer;
  readonly text: string;
  /** Weight in the mean of a step: 1, or 0 for reduction "sum", which has no mean. */
  readonly unit: 0 | 1;
}

interface Prepared {
  readonly bytes: Uint8Array;
  readonly text: string;
  readonly letters: CtcTokenizer;
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
  ...letterOptions,
});
type Options = z.infer<typeof Options>;

export const ctc = defineTask<SpeltSound, Prepared, Options>({
  name: 'ctc',
  title: 'Speech recognition (CTC)',
  summary:
    'Learns to transcribe audio with the vocabulary of the base, or with the characters of your texts.',
  peft: { taskType: null, models: 'CTC', pipeline: 'automatic-speech-recognition' },
  inputs: 'audio',
  stacks: ['encoder'],
  method: 'supervised',
  head: letterHead,
  letters: ownLetters as OwnLetters<Options>,
  options: Options,
  ...transcripts,
  survey: (options) => new LetterSurvey(options),
  notes: (options, processor) => new LetterNotes(options, processor),
  prepare: ({ audio, text }, processor, options) => ({
    bytes: mediaBytes('audio', audio, 'audio'),
    text: text as string,
    letters: tokenizerOf(options, processor),
    isFound: options.vocabulary_from_data,
    unit: options.ctc_loss_reduction === 'mean' ? 1 : 0,
  }),
  encode: encoded,
  varied: (example, key) => ({ ...example, key }),
  units: ({ unit }) => unit,
  loss(model, shares, ctx, scales) {
    const rows = lettersOf(model, shares, ctx);
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
      const letters = tokenizerOf(taskOptions, processor);
      const heard = heardOf(files, processor, { maxSeqLen, store: null }, MAX_VALUES);
      const found = heard.map((one) => asked(one, letters));
      refuseProblems(found);
      return found;
    },
    window(samples, processor, { maxSeqLen, taskOptions }) {
      const letters = tokenizerOf(taskOptions, processor);
      const found = asked(windowOf(samples, processor, maxSeqLen), letters);
      refuseProblems([found]);
      return found;
    },
    answer: (model, shares, ctx) =>
      tidy(() => {
        const rows = lettersOf(model, shares, ctx);
        return shares.flatMap(({ examples }, i) =>
          examples.map(({ letters }, j) => ({
            text: letters.decode(likeliest((rows[i] as Tensor[])[j] as Tensor)),
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
): Encoded<SpeltSound>[] {
  const heard = heardOf(
    prepared.map(({ bytes }) => bytes),
    processor,
    options,
  );
  return prepared.map(({ text, letters, isFound, unit }, i) => {
    const one = heard[i] as Heard | string;
    const target = spelt(text, letters, isFound);
    if (typeof target === 'string')
      return exampleOf(target, { letters, target: NOTHING, text, unit });
    const found = exampleOf(one, { letters, target, text, unit });
    return { ...found, problem: found.problem ?? tooLong(target, one as Heard) };
  });
}

const NOTHING = new Int32Array();

/** Creates an example for inference, without a transcript. */
const asked = (heard: Heard | string, letters: CtcTokenizer): Encoded<SpeltSound> =>
  exampleOf(heard, { letters, target: NOTHING, text: '', unit: 1 });

function exampleOf(
  heard: Heard | string,
  spelt: Pick<SpeltSound, 'letters' | 'target' | 'text' | 'unit'>,
): Encoded<SpeltSound> {
  const isHeard = typeof heard !== 'string';
  const rows = isHeard ? heard.rows : 1;
  const sound = isHeard ? heard.sound : null;
  const { length } = spelt.target;
  const media = isHeard ? heard.seconds : 0;
  return {
    example: { ...spelt, sound, key: null, rows, heardRows: rows, tokenCount: length, media },
    longest: rows,
    supervised: length,
    lost: false,
    problem: isHeard ? null : heard,
  };
}

/** Returns the token ids of a text, or why it cannot be used for training. */
function spelt(text: string, letters: CtcTokenizer, isFound: boolean): Int32Array | string {
  try {
    const ids = letters.encode(text);
    const isKnown = isFound || ids.some((id) => id !== letters.unknown && id !== letters.delimiter);
    return isKnown ? Int32Array.from(ids) : `the text has no character of the job's vocabulary, ${letters.sample}; write it in those characters or, unless the job starts from an adapter, set graft.task_options.vocabulary_from_data`; // prettier-ignore
  } catch (error) {
    if (error instanceof DomainError) return error.message;
    throw error;
  }
}

/**
 * Returns an error if the text needs more rows than the audio has. Repeated tokens need a row between
 * them.
 */
function tooLong(target: Int32Array, { seconds, rows }: Heard): string | null {
  const twice = target.filter((letter, i) => letter === target[i - 1]).length;
  const needed = target.length + twice;
  return needed <= rows
    ? null
    : `the text has ${target.length} tokens and needs ${needed} frames, but the base makes ${rows} of the ${seconds.toFixed(1)} s of audio; check that they belong together, or shorten the text`;
}

/** Returns the logits of each example by share: [rows, vocabulary]. */
function lettersOf(
  model: Model,
  shares: readonly Share<SpeltSound, Options>[],
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
  { target }: SpeltSound,
  ctc: CtcOptions,
  { ctc_loss_reduction: reduction }: Options,
): Tensor {
  const wanted = tensor(BigInt64Array.from(target, BigInt), [target.length]);
  const loss = ctcLoss(logSoftmax(logits, -1, 'f32'), wanted, ctc);
  return reduction === 'sum' ? loss : div(loss, target.length);
}

const errorsOf = ({ letters, text }: SpeltSound, logits: Tensor): Sums['totals'] =>
  transcriptErrors(letters.decode(likeliest(logits)), text, basicText);

const likeliest = (logits: Tensor): number[] =>
  Array.from(argmax(logits, -1).toArray() as BigInt64Array, Number);
