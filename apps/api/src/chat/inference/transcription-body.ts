import { z } from 'zod';
import { unsupported } from '../answers/unsupported-fields.js';

/** Maximum bytes of a form field. The form parser truncates longer ones. */
const LONGEST = 4095;

const ONE_TRANSCRIPT = 'there is only one transcript without parts: leave it out';

/** OpenAI's fields next to `file`. All are strings because they come from a form. */
export const TranscriptionBody = z
  .strictObject({
    model: z.string().min(1).max(300),
    language: z
      .string()
      .regex(/^[a-z]{2,3}$/, 'expected a code such as "en"')
      .optional()
      .describe('Language for multilingual base models: en, de, …. Default: detected by the model'),
    prompt: z
      .string()
      .refine((text) => Buffer.byteLength(text) <= LONGEST, `expected at most ${LONGEST} bytes`)
      .optional()
      .describe('Text that precedes the transcript, to suggest names and spellings'),
    response_format: z
      .enum(['json', 'text', 'verbose_json', 'srt', 'vtt'])
      .default('json')
      .describe('verbose_json, srt and vtt require a base model with timestamp tokens'),
    temperature: z.coerce.number().min(0).max(1).default(0),
    stream: z.enum(['true', 'false']).default('false'),
    'timestamp_granularities[]': z
      .string()
      .refine((one) => one.split(',').every((granularity) => granularity === 'segment'), {
        error: ({ input }) =>
          String(input).split(',').includes('word')
            ? 'word is not supported; timestamps are only available for segments'
            : 'expected segment',
        params: { code: 'unsupported' },
      })
      .optional()
      .describe('Only `segment`, for verbose_json'),
    'include[]': unsupported('transcripts have no log-probabilities: leave it out'),
    chunking_strategy: unsupported(
      'long audio is split by the model: leave it out',
      z.literal('auto'),
    ),
    'known_speaker_names[]': unsupported(ONE_TRANSCRIPT),
    'known_speaker_references[]': unsupported(ONE_TRANSCRIPT),
  })
  .refine(
    ({ stream, response_format: format }) => stream === 'false' || /^(json|text)$/.test(format),
    { path: ['stream'], error: 'only json and text can be streamed: leave it out', params: { code: 'unsupported' } }, // prettier-ignore
  );
export type TranscriptionBody = z.infer<typeof TranscriptionBody>;

/** Form of the endpoint for the OpenAPI document. */
export const TranscriptionForm = z.strictObject({
  file: z.string().meta({ format: 'binary' }).describe('Audio file: WAV or FLAC, at most 25 MB'),
  ...TranscriptionBody.shape,
});
