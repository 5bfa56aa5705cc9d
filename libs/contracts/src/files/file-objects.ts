// File object of OpenAI's API, with Graft's report on training data.
import { z } from 'zod';

export const FileTask = z
  .object({
    task: z.string(),
    fits: z.boolean(),
    problem: z
      .string()
      .nullable()
      .describe(
        'First record that the task cannot use, and the reason, such as "line 3: …"; null if the file fits.',
      ),
  })
  .meta({ id: 'FileTask', description: 'Whether a task can use every record of a file.' });
export type FileTask = z.infer<typeof FileTask>;

export const FileReport = z
  .object({
    records: z.number().describe('Number of records'),
    problems: z
      .array(z.string())
      .readonly()
      .describe(
        'Reasons why the file cannot be used: one sentence for each of the first 20, with the affected lines.',
      ),
    tasks: z
      .exactOptional(z.array(FileTask).readonly())
      .describe('Whether each task can use the file.'),
    checked_as: z
      .exactOptional(z.string())
      .describe('Task that `formats` and `problems` refer to.'),
    formats: z
      .record(z.string(), z.number())
      .readonly()
      .describe(
        'Number of records per format: `messages`, `prompt_completion`, `text`, … A file that mixes formats has several keys.',
      ),
    duplicates: z
      .number()
      .describe(
        'Number of records that repeat an earlier one; `duplicate_lines` has the lines of the first 20.',
      ),
    duplicate_lines: z.array(z.number()).readonly().describe('Lines of the first 20 duplicates'),
    ignored_fields: z
      .record(z.string(), z.number())
      .readonly()
      .describe('Number of records with each field that training ignores.'),
    labels: z
      .exactOptional(z.record(z.string(), z.number()).readonly())
      .describe(
        'Number of records per label; absent without labels or with more than 1,000 of them.',
      ),
    longest_line: z
      .object({ line: z.number(), bytes: z.number() })
      .nullable()
      .describe('Number and size of the longest line'),
    converted_from: z
      .string()
      .nullable()
      .describe(
        'Source format of a converted file: `csv`, `json`, `sharegpt`, `alpaca`, `parquet`, `arrow` (also folders saved by datasets), `imagefolder` or `audiofolder`; null for JSON Lines of one of the formats.',
      ),
    columns: z
      .exactOptional(z.record(z.string(), z.string()).readonly())
      .describe('Column per record field, for a table whose upload mapped its columns.'),
    label_warning: z
      .exactOptional(z.string())
      .describe(
        'Warning about a table that was read as texts although another column looks like labels, and how to map that column. Also in `warnings`.',
      ),
    warnings: z.array(z.string()).readonly().describe('Warnings, one sentence each.'),
    revises: z
      .exactOptional(
        z.object({
          file: z.string().describe('ID of the original'),
          changed_lines: z.array(z.number()).readonly().describe('Lines that were replaced'),
          removed_lines: z.array(z.number()).readonly().describe('Lines that were removed'),
        }),
      )
      .describe('Origin of a file that revises another; lines are those of the original.'),
  })
  .meta({
    id: 'FileReport',
    description:
      'Report on an upload with purpose `fine-tune`. The base model is not known yet, so it counts records and bytes, not tokens.',
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
    graft: z.exactOptional(FileReport).describe('Report on training data; absent for other files.'),
  })
  .meta({ id: 'FileObject' });
export type FileObject = z.infer<typeof FileObject>;
