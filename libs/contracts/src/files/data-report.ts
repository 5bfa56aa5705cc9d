/** What was found in the file that a job learns from. */
import { z } from 'zod';

export const DataReport = z
  .object({
    examples: z.number(),
    tokens: z
      .number()
      .describe('Tokens of one pass, as cut; extrapolated from a sample where `sampled`.'),
    supervised_tokens: z.number(),
    sampled: z.boolean(),
    longest: z
      .number()
      .describe(
        'Tokens of the longest example before cutting (of those looked at), and where examples are cut.',
      ),
    largest_rows: z
      .number()
      .describe(
        'Rows of tokens, patches or frames that the largest example (of those looked at) puts through the base, as cut.',
      ),
    memory_bytes: z.number().describe('What its examples take in a trainer.'),
    max_seq_len: z.number(),
    cut: z
      .number()
      .describe(
        'Examples cut at their end, and the lines of the first twenty. None has lost all it teaches: those are refused.',
      ),
    cut_lines: z.array(z.number()).readonly(),
    duplicates: z.number(),
    validation_examples: z
      .exactOptional(z.number())
      .describe('Of a job with validation data: how many examples they have.'),
    overlap: z.number().describe('Examples that the training file has, too; of a validation file.'),
    formats: z.record(z.string(), z.number()).readonly(),
    ignored_fields: z
      .record(z.string(), z.number())
      .readonly()
      .describe(
        "Fields that this base's template does not use (such as `tools`), and how many records have them.",
      ),
    pictures: z
      .object({
        looked_at: z.number(),
        smallest: z.object({ width: z.number(), height: z.number() }),
        largest: z.object({ width: z.number(), height: z.number() }),
      })
      .optional()
      .describe(
        'Of pictures: how many were decoded to be looked at, and in which sizes they come.',
      ),
    warnings: z.array(z.string()).readonly().describe('A sentence each, for people.'),
  })
  .meta({
    id: 'DataReport',
    description:
      'What a training or validation file is for one base: found when a job is created, or asked for by a preview.',
  });
export type DataReport = z.infer<typeof DataReport>;
