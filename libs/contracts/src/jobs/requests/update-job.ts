import { z } from 'zod';
import { CreateJob } from './create-job.js';

// Body of POST /v1/fine_tuning/jobs/{id}: labels that do not affect training, and the job's priority.

/** Maximum number of tags, and maximum lengths of a tag, a name and a note in characters. */
export const JOB_LABEL_LIMITS = { tags: 20, tag: 64, name: 128, note: 10_000 } as const;

// Lists of tags are written with commas.
const Tag = z
  .string()
  .trim()
  .min(1)
  .max(JOB_LABEL_LIMITS.tag)
  .regex(/^[^,\p{Cc}]*$/u, 'expected no commas and no control characters');

const JobUpdate = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1)
    .max(JOB_LABEL_LIMITS.name)
    .regex(/^\P{Cc}*$/u, 'expected no control characters')
    .nullish()
    .describe('Display name of the job; null: use the default name again'),
  tags: z
    .array(Tag)
    .max(JOB_LABEL_LIMITS.tags)
    .optional()
    .describe('Tags of the job; replaces all existing tags. Duplicates are removed'),
  note: z
    .string()
    .max(JOB_LABEL_LIMITS.note)
    .nullish()
    .describe('Free-text note; null or "" removes it'),
  priority: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe(
      'Priority of an unfinished job, from 1 to 1000; jobs with a lower number start first',
    ),
  archived: z.boolean().optional().describe('Whether lists omit the job by default'),
});

/** Fields that are absent stay unchanged. */
export const UpdateJob = z.strictObject({
  metadata: CreateJob.shape.metadata.describe(
    'Metadata of the job; replaces all existing entries. null removes them',
  ),
  graft: JobUpdate.optional(),
});
export type UpdateJob = z.infer<typeof UpdateJob>;
