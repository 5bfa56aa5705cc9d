// A file of OpenAI's wire contract, and what Graft's check found in it.
import { z } from 'zod';

export const FileTask = z
  .object({
    task: z.string(),
    fits: z.boolean(),
    problem: z
      .string()
      .nullable()
      .describe(
        'The first record that it cannot learn from, and why: "line 3: …"; null where it fits.',
      ),
  })
  .meta({ id: 'FileTask', description: 'Whether a task can learn from every record of a file.' });
export type FileTask = z.infer<typeof FileTask>;

export const FileReport = z
  .object({
    records: z.number(),
    problems: z
      .array(z.string())
      .readonly()
      .describe(
        'Why it cannot be used: a sentence for each of the first twenty reasons, with the lines it is true of.',
      ),
    tasks: z
      .exactOptional(z.array(FileTask).readonly())
      .describe('Whether each task can learn from it.'),
    checked_as: z
      .exactOptional(z.string())
      .describe('The task whose formats and problems these are.'),
    formats: z
      .record(z.string(), z.number())
      .readonly()
      .describe(
        'Records of each format: `messages`, `prompt_completion`, `text`, … More than one key: a mixture.',
      ),
    duplicates: z
      .number()
      .describe('Records that say the same as an earlier one, and the lines of the first twenty.'),
    duplicate_lines: z.array(z.number()).readonly(),
    ignored_fields: z
      .record(z.string(), z.number())
      .readonly()
      .describe('Fields that training does not read, and how many records have them.'),
    labels: z
      .exactOptional(z.record(z.string(), z.number()).readonly())
      .describe(
        'How many records have each label; absent where they have none, or more than a thousand.',
      ),
    longest_line: z.object({ line: z.number(), bytes: z.number() }).nullable(),
    converted_from: z
      .string()
      .nullable()
      .describe(
        'What was read when it was not JSON Lines of one of the formats: `csv`, `json`, `sharegpt`, `alpaca`, `parquet`, `arrow` (and folders of datasets), `imagefolder`, `audiofolder`.',
      ),
    columns: z
      .exactOptional(z.record(z.string(), z.string()).readonly())
      .describe('Of a table whose upload named its columns: which is what.'),
    label_warning: z
      .exactOptional(z.string())
      .describe(
        'Of a table that was read as texts beside a column that looks like their labels: what was left out, and how to map it. It is among `warnings`, too.',
      ),
    warnings: z.array(z.string()).readonly().describe('A sentence each, for people.'),
  })
  .meta({
    id: 'FileReport',
    description:
      'What an upload with purpose fine-tune holds. No base is known yet, so records and bytes are counted, not tokens.',
  });
export type FileReport = z.infer<typeof FileReport>;

export const FileObject = z
  .object({
    id: z.string(),
    object: z.literal('file'),
    bytes: z.number(),
    created_at: z.number(),
    filename: z.string(),
    purpose: z.string(),
    status: z.enum(['uploaded', 'processed', 'error']),
    status_details: z.exactOptional(z.string().nullable()),
    expires_at: z.exactOptional(z.number()),
    graft: z
      .exactOptional(FileReport)
      .describe('What the check of training data found; absent for other files.'),
  })
  .meta({ id: 'FileObject' });
export type FileObject = z.infer<typeof FileObject>;
