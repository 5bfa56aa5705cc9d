// POST /v1/files/{id}/revisions: a copy of a training file with some records replaced or removed.
import { z } from 'zod';
import { FileObject } from './file-objects.js';

/** Maximum number of records that a request may replace or remove. */
export const MAX_REVISED_RECORDS = 1000;

export const ReviseFile = z.strictObject({
  records: z
    .array(
      z.strictObject({
        line: z
          .int()
          .min(1)
          .describe('Line of the record, as GET /v1/files/{id}/records returns it'),
        record: z
          .record(z.string(), z.unknown())
          .nullable()
          .describe('New content of the record; null: remove it'),
      }),
    )
    .min(1)
    .max(MAX_REVISED_RECORDS)
    .describe('Records to replace or remove'),
  hold_out_as: z
    .string()
    .max(100)
    .optional()
    .describe(
      'Job that trained on this file with a validation split. The records that it held out become a second file, so that a new job can be evaluated on the same records',
    ),
  filename: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .describe('Name of the new file. Default: the old name with the number of changes'),
});
export type ReviseFile = z.infer<typeof ReviseFile>;

export const FileRevisionObject = z
  .object({
    object: z.literal('graft.file_revision'),
    id: z.string().describe('ID of the new training file'),
    file: FileObject.describe('The new training file'),
    validation_file: FileObject.nullable().describe(
      'The held-out records, for `validation_file` of the new job; null without `hold_out_as`',
    ),
    changed: z.number().describe('Number of replaced records, in both files'),
    removed: z.number().describe('Number of removed records, in both files'),
    held_out_revised: z
      .number()
      .describe(
        'Number of held-out records among them. If it is not 0, the old job was evaluated on other records',
      ),
  })
  .meta({ id: 'FileRevisionObject', description: 'Revision of a training file.' });
export type FileRevisionObject = z.infer<typeof FileRevisionObject>;
