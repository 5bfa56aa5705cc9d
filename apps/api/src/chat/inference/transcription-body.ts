import { z } from 'zod';
import { notDone } from '../answers/not-done.js';

/** Longer fields of a form are cut where they are read. */
const LONGEST = 4095;

const ONE_TRANSCRIPT = 'the whole text is written at once: leave it out';

/** OpenAI's fields beside `file`, as a form has them: text. */
export const TranscriptionBody = z
  .strictObject({
    model: z.string().min(1).max(300),
    language: z
      .string()
      .regex(/^[a-z]{2,3}$/, 'expected a code such as "en"')
      .optional()
      .describe('Of bases of several languages: en, de, …; left out, the base hears it itself'),
    prompt: z
      .string()
      .refine((text) => Buffer.byteLength(text) <= LONGEST, `expected at most ${LONGEST} bytes`)
      .optional()
      .describe('What stands before the transcript: names, spellings'),
    response_format: z
      .enum(['json', 'text', 'verbose_json', 'srt', 'vtt'])
      .default('json')
      .describe('The last three of bases that have tokens for times'),
    temperature: z.coerce.number().min(0).max(1).default(0),
    stream: z.enum(['true', 'false']).default('false'),
    'timestamp_granularities[]': z
      .string()
      .refine((one) => one.split(',').every((granularity) => granularity === 'segment'), {
        error: ({ input }) =>
          String(input).split(',').includes('word')
            ? 'word is not supported: times are those of segments'
            : 'expected segment',
        params: { code: 'unsupported' },
      })
      .optional()
      .describe('`segment`, of verbose_json'),
    'include[]': notDone('there are no log-probabilities of a transcript: leave it out'),
    chunking_strategy: notDone('long sounds are cut by the base: leave it out', z.literal('auto')),
    'known_speaker_names[]': notDone(ONE_TRANSCRIPT),
    'known_speaker_references[]': notDone(ONE_TRANSCRIPT),
  })
  .refine(
    ({ stream, response_format: format }) => stream === 'false' || /^(json|text)$/.test(format),
    { path: ['stream'], error: 'only json and text are streamed: leave it out', params: { code: 'unsupported' } }, // prettier-ignore
  );
export type TranscriptionBody = z.infer<typeof TranscriptionBody>;

/** The same as the OpenAPI document has it. */
export const TranscriptionForm = z.strictObject({
  file: z.string().meta({ format: 'binary' }).describe('A sound: WAV or FLAC, 25 MB at most'),
  ...TranscriptionBody.shape,
});
