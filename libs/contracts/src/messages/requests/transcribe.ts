// A request to transcribe an audio file, which is sent with it as media.
import { z } from 'zod';
import { list } from '../fields.js';
import { taskFields } from './infer.js';
import { tokenCount } from './token-count.js';

/** Upper bound; a window of 30 seconds has at most 448 tokens. */
const MAX_SEGMENT_TOKENS = 1000;
/** Maximum number of segments per chunk. */
const MAX_SEGMENTS = 10_000;

const transcriptOptions = z.object({
  language: z
    .string()
    .nullable()
    .describe(
      'Language of the audio; null: the one in the task options, else the one that the base model detects',
    ),
  prompt: z
    .string()
    .nullable()
    .describe('Text that precedes the transcript, for example with names and spellings'),
  temperature: z.number().min(0).describe('Sampling temperature; 0: always the most likely token'),
  seed: z.int().min(0),
  segments: z.boolean().describe('Whether to return segments with timestamps'),
});
export type TranscriptOptions = Readonly<z.infer<typeof transcriptOptions>>;

export const transcribeRequest = z.object({ ...taskFields, ...transcriptOptions.shape });
export type TranscribeRequest = Readonly<z.infer<typeof transcribeRequest>>;

const transcriptSegment = z.object({
  seek: z.int().min(0).describe('Start of the window, in hundredths of a second'),
  start: z.number().min(0).describe('Start in seconds'),
  end: z.number().min(0).describe('End in seconds'),
  text: z.string(),
  tokens: list(z.int().min(0), MAX_SEGMENT_TOKENS),
  avg_logprob: z.number().describe('Mean log probability of the tokens of the window'),
  no_speech_prob: z
    .number()
    .nullable()
    .describe(
      'Probability that the window has no speech; null if the base model has no token for it',
    ),
});
export type TranscriptSegment = Readonly<z.infer<typeof transcriptSegment>>;

/** Facts about the audio, known after its end. */
const audioFacts = z.object({
  seconds: z.number().min(0),
  language: z.string().nullable(),
});
export type AudioFacts = Readonly<z.infer<typeof audioFacts>>;

/** Part of a transcript since the previous chunk. */
export const transcribeAnswer = z.object({
  text: z.string(),
  segments: list(transcriptSegment, MAX_SEGMENTS),
  sound: audioFacts.optional().describe('Facts about the audio; only in the last chunk'),
  prompt_tokens: tokenCount.describe('Encoder frames of the audio so far'),
  completion_tokens: tokenCount.describe('Tokens generated so far'),
});
export type TranscribeAnswer = Readonly<z.infer<typeof transcribeAnswer>>;
