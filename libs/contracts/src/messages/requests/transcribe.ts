// A request to write down what is said in an audio file. The file travels beside it, as media.
import { z } from 'zod';
import { list } from '../fields.js';
import { taskFields } from './infer.js';
import { tokenCount } from './token-count.js';

/** A window of 30 seconds has at most 448 tokens. */
const MAX_SEGMENT_TOKENS = 1000;
/** Of one piece of an answer. */
const MAX_SEGMENTS = 10_000;

const transcriptOptions = z.object({
  language: z
    .string()
    .nullable()
    .describe('null: that of the options of the task, or the one that the base detects'),
  prompt: z.string().nullable().describe('Text before the transcript: names, spellings'),
  temperature: z.number().min(0).describe('0: always the likeliest token'),
  seed: z.int().min(0),
  segments: z.boolean().describe('Whether the answer has segments with times'),
});
export type TranscriptOptions = Readonly<z.infer<typeof transcriptOptions>>;

export const transcribeRequest = z.object({ ...taskFields, ...transcriptOptions.shape });
export type TranscribeRequest = Readonly<z.infer<typeof transcribeRequest>>;

const transcriptSegment = z.object({
  seek: z.int().min(0).describe('Start of its window, in hundredths of a second'),
  start: z.number().min(0).describe('Seconds'),
  end: z.number().min(0),
  text: z.string(),
  tokens: list(z.int().min(0), MAX_SEGMENT_TOKENS),
  avg_logprob: z.number().describe('Mean ln p of the tokens of its window'),
  no_speech_prob: z.number().nullable().describe('null: the base has no token for it'),
});
export type TranscriptSegment = Readonly<z.infer<typeof transcriptSegment>>;

/** What is known of the audio at its end. */
const heardSound = z.object({
  seconds: z.number().min(0),
  language: z.string().nullable(),
});
export type HeardSound = Readonly<z.infer<typeof heardSound>>;

/** What is new of a transcript. */
export const transcribeAnswer = z.object({
  text: z.string(),
  segments: list(transcriptSegment, MAX_SEGMENTS),
  sound: heardSound.optional().describe('In the last piece'),
  prompt_tokens: tokenCount.describe('Rows that the base made of the audio so far'),
  completion_tokens: tokenCount.describe('So far'),
});
export type TranscribeAnswer = Readonly<z.infer<typeof transcribeAnswer>>;
