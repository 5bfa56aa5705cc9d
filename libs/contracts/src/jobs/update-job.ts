import { z } from 'zod';
import { CreateJob } from './create-job.js';

// The body of POST /v1/fine_tuning/jobs/{id}: what people say of a job, which training knows
// nothing of, and its place in the queue.

/** How many tags a job may have, and what of a text is kept. */
export const JOB_WORDS = { tags: 20, tag: 64, name: 128, note: 10_000 } as const;

// Commas stand between tags wherever people write several.
const Tag = z
  .string()
  .trim()
  .min(1)
  .max(JOB_WORDS.tag)
  .regex(/^[^,\p{Cc}]*$/u, 'expected no commas and no control characters');

const JobWords = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1)
    .max(JOB_WORDS.name)
    .regex(/^\P{Cc}*$/u, 'expected no control characters')
    .nullish()
    .describe('What it is called in place of its suffix; null: by its suffix again'),
  tags: z
    .array(Tag)
    .max(JOB_WORDS.tags)
    .optional()
    .describe('All that it is to have; the same one twice counts once'),
  note: z.string().max(JOB_WORDS.note).nullish().describe('For people; null or "": none'),
  priority: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe('Of a job that is not over: jobs with a lower number run first'),
  archived: z.boolean().optional().describe('Whether lists leave it out unless they are asked'),
});

/** What is left out stays as it is. */
export const UpdateJob = z.strictObject({
  metadata: CreateJob.shape.metadata.describe('All of it anew; null: none'),
  graft: JobWords.optional(),
});
export type UpdateJob = z.infer<typeof UpdateJob>;
