/**
 * Speech recognition with an encoder-decoder model, arXiv:2212.04356 (Whisper): an encoder reads the audio
 * x; a decoder generates the text y from its start token, after the tokens that select language and task.
 *   loss = -1/N Σ log p(y_i | x, y_<i)     over the N target tokens of a whole optimizer step
 * The target is the output of Transformers' tokenizers without the start token: those tokens, the text and
 * its end token.
 */
import { z } from 'zod';
import { MAX_VALUES } from '../data/audio/audio-clip.js';
import type { ClipFacts } from '../data/audio/audio-clips.js';
import { basicText, englishText } from './text-metrics/text-normalizer.js';
import { mediaBytes } from '../data/data-url.js';
import { packFeatures } from './batches/pack.js';
import type { Processor, Writing } from '../data/processor.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { TOKEN_METRICS, tokenChance, targetSums } from './losses/next-token.js';
import { mediaInput } from './records/media-records.js';
import { refuseProblems } from './records/record-checks.js';
import type { FeatureSequence } from './heads/head-outputs.js';
import { clipsOf, sequenceOf, windowOf, type AudioExample } from './speech/audio-clips.js';
import { prefixOf } from './speech/speech-tokens.js';
import { SpeechWriter } from './speech/speech-writer.js';
import { defineTask, type Encoded, type EncodeOptions } from './task.js';
import { timesOf } from './speech/timestamps.js';
import { transcribe, transcribing } from './speech/transcribe.js';
import {
  TRANSCRIPT_METRICS,
  transcriptErrors,
  type Normalize,
} from './text-metrics/transcript-errors.js';
import { transcripts } from './records/transcript-records.js';

interface SpokenText extends AudioExample {
  readonly target: Int32Array;
  /** Decoder input before the generated text, without the start token. */
  readonly prefix: Int32Array;
  readonly tokenizer: Tokenizer;
  readonly writing: Writing;
  readonly text: string;
  readonly normalize: Normalize;
}

interface Prepared {
  readonly bytes: Uint8Array;
  readonly text: string;
  readonly language: string | null;
}

const Options = z.strictObject({
  language: z
    .string()
    .regex(/^[a-z]{2,3}$/, 'expected a code such as "en"')
    .nullable()
    .default(null)
    .describe(
      'Language of the texts (en, de, …), for multilingual bases. Default: the tokenizer’s own prefix tokens',
    ),
});
type Options = z.infer<typeof Options>;

export const speechSeq2Seq = defineTask<SpokenText, Prepared, Options>({
  name: 'speech_seq_2_seq',
  title: 'Speech to text',
  summary: 'Learns to transcribe audio.',
  peft: { taskType: null, models: 'SpeechSeq2Seq', pipeline: 'automatic-speech-recognition' },
  inputs: 'audio',
  stacks: ['encoder_decoder'],
  method: 'supervised',
  options: Options,
  ...transcripts,
  prepare: ({ audio, text }, _, { language }) => ({
    bytes: mediaBytes('audio', audio, 'audio'),
    text: text as string,
    language,
  }),
  encode(prepared, processor, { maxSeqLen, ...options }) {
    const files = prepared.map(({ bytes }) => bytes);
    return encoded(prepared, clipsOfAnyLength(files, processor, options), processor, maxSeqLen);
  },
  varied: (example, key) => ({ ...example, key }),
  units: ({ target }) => target.length,
  loss(model, shares, ctx, scales) {
    const encoder = packFeatures(
      shares.flatMap(({ run, examples }) =>
        examples.map((example) => ({ run, ...sequenceOf(example, model, ctx) })),
      ),
    );
    return targetSums(model, encoder, shares, ctx, scales);
  },
  *measuring(model, run, example) {
    const { prefix, tokenizer, text, normalize } = example;
    const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
    const clip = sequenceOf(example, model, ctx);
    try {
      const ids = yield* transcribing(model, { run, clip, prefix, ends: tokenizer.eosIds });
      return transcriptErrors(tokenizer.decode(ids), text, normalize);
    } finally {
      clip.feature.dispose();
    }
  },
  infer: {
    kind: 'transcribe',
    record: (input) => mediaInput(input, 'audio'),
    encode(records, processor, { maxSeqLen, taskOptions: { language } }) {
      const files = records.map(({ audio }) => mediaBytes('audio', audio, 'audio'));
      const clips = clipsOfAnyLength(files, processor, { store: null }, MAX_VALUES);
      const texts = files.map(() => ({ text: '', language }));
      const found = encoded(texts, clips, processor, maxSeqLen);
      refuseProblems(found);
      return found;
    },
    window(samples, processor, { maxSeqLen, taskOptions: { language } }) {
      const clips = [windowOf(samples, processor, Infinity)];
      const found = encoded([{ text: '', language }], clips, processor, maxSeqLen);
      refuseProblems(found);
      return found[0] as Encoded<SpokenText>;
    },
    answer: (model, shares, ctx) =>
      shares.flatMap(({ run, examples }) =>
        examples.map((example) => {
          const clip = sequenceOf(example, model, ctx);
          const { prefix, tokenizer } = example;
          const ids = transcribe(model, { run, clip, prefix, ends: tokenizer.eosIds });
          return { text: tokenizer.decode(ids).trim() };
        }),
      ),
    writing: {
      isTimed: ({ tokenizer }) => timesOf(tokenizer) !== null,
      open(model, { run, example, options: { language } }, asked) {
        const ctx = { training: false, runs: new Map() };
        const { tokenizer, prefix, writing } = example;
        const features = (): FeatureSequence => sequenceOf(example, model, ctx);
        return new SpeechWriter(
          model,
          { run, tokenizer, writing, prefix, language, features },
          asked,
        );
      },
    },
  },
  chance: tokenChance,
  metrics: [...TOKEN_METRICS, ...TRANSCRIPT_METRICS],
});

/** Decodes audio without a limit on rows: `max_seq_len` limits the text only. */
const clipsOfAnyLength = (
  files: readonly Uint8Array[],
  processor: Processor,
  options: Omit<EncodeOptions, 'maxSeqLen'>,
  most?: number,
): (ClipFacts | string)[] => clipsOf(files, processor, { ...options, maxSeqLen: Infinity }, most);

function encoded(
  prepared: readonly Omit<Prepared, 'bytes'>[],
  clips: readonly (ClipFacts | string)[],
  processor: Processor,
  maxSeqLen: number,
): Encoded<SpokenText>[] {
  const { tokenizer, writing, audio } = processor;
  const [first] = prepared;
  const prefix = first ? prefixOf(processor, first.language) : new Int32Array();
  const normalize = first && isEnglish(tokenizer, first.language) ? englishText : basicText;
  const texts = tokenizer.encodeBatch(prepared.map(({ text }) => text));
  return clips.map((facts, i) => {
    const isRead = typeof facts !== 'string';
    const end = tokenizer.eosId === null ? [] : [tokenizer.eosId];
    const whole = Int32Array.from([...prefix, ...(texts[i]?.ids ?? []), ...end]);
    const target = whole.slice(0, maxSeqLen);
    const rows = (isRead ? facts.rows : 1) + target.length;
    const clip = isRead ? facts.clip : null;
    const longest = audio.maxSeconds ?? Infinity;
    return {
      example: {
        clip,
        key: null,
        target,
        prefix,
        tokenizer,
        writing,
        text: prepared[i]?.text ?? '',
        normalize,
        rows,
        tokenCount: target.length,
        media: isRead ? facts.seconds : 0,
        audioRows: isRead ? facts.rows : 1,
      },
      longest: whole.length,
      supervised: target.length,
      lost: false,
      problem: !isRead
        ? facts
        : facts.seconds > longest
          ? `the audio has ${facts.seconds.toFixed(1)} s, but the base reads at most ${longest} s; shorten it and its text`
          : whole.length > writing.positions
            ? `the text has ${whole.length} tokens, but the base writes at most ${writing.positions}; shorten it and its audio`
            : null,
    };
  });
}

/**
 * Whether texts are English. Without a language option, only English-only tokenizers, which have no
 * language tokens.
 */
const isEnglish = (tokenizer: Tokenizer, language: string | null): boolean =>
  language === null ? tokenizer.encode('<|de|>').length > 1 : language === 'en';
