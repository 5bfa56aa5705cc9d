// Report on a training or validation file for one base model.
import { z } from 'zod';

export const DataReport = z
  .object({
    examples: z.number().describe('Number of examples in one epoch'),
    tokens: z
      .number()
      .describe(
        'Tokens per epoch after truncation; extrapolated from a sample if `sampled` is true.',
      ),
    supervised_tokens: z.number().describe('Tokens per epoch on which the loss is computed'),
    sampled: z
      .boolean()
      .describe(
        'Whether a sample of 400 records was analyzed, because the file has more than 2,000 records or 2 MB',
      ),
    longest: z
      .number()
      .describe(
        'Tokens of the longest example before truncation, among the examples analyzed. Examples are truncated to `max_seq_len`.',
      ),
    largest_rows: z
      .number()
      .describe(
        'Sequence length (tokens, patches or frames) of the largest example after truncation, among the examples analyzed.',
      ),
    memory_bytes: z.number().describe('Memory of the examples in a trainer, in bytes.'),
    max_seq_len: z.number().describe('Length to which examples are truncated'),
    cut: z
      .number()
      .describe(
        'Number of examples truncated at their end; `cut_lines` has the lines of the first 20. Examples that would lose all their targets are rejected.',
      ),
    cut_lines: z
      .array(z.number())
      .readonly()
      .describe('Lines of the first 20 truncated examples; empty for a sample'),
    duplicates: z.number().describe('Number of examples that repeat an earlier one'),
    validation_examples: z
      .exactOptional(z.number())
      .describe('Number of validation examples, for a job with validation data.'),
    overlap: z
      .number()
      .describe('For a validation file, number of examples that the training file also contains.'),
    formats: z.record(z.string(), z.number()).readonly().describe('Number of records per format'),
    ignored_fields: z
      .record(z.string(), z.number())
      .readonly()
      .describe(
        "Number of records with each field that the base's chat template does not use, such as `tools`.",
      ),
    pictures: z
      .object({
        looked_at: z.number(),
        smallest: z.object({ width: z.number(), height: z.number() }),
        largest: z.object({ width: z.number(), height: z.number() }),
      })
      .optional()
      .describe(
        'For image data, number of images decoded for the report, and their smallest and largest size in pixels.',
      ),
    warnings: z.array(z.string()).readonly().describe('Warnings, one sentence each.'),
  })
  .meta({
    id: 'DataReport',
    description:
      'Report on a training or validation file for one base model, made when a job is created or previewed.',
  });
export type DataReport = z.infer<typeof DataReport>;
