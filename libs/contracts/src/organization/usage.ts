// Usage over time, like OpenAI's GET /v1/organization/usage/…: pages of buckets. Times are Unix seconds.
import { z } from 'zod';

export const USAGE_GROUPS = ['project_id', 'model'] as const;
export type UsageGroup = (typeof USAGE_GROUPS)[number];

/** Widths of buckets, with the number of buckets of a page: OpenAI's default and maximum. */
export const BUCKET_WIDTHS = {
  '1h': { seconds: 3600, usual: 24, most: 168 },
  '1d': { seconds: 86_400, usual: 7, most: 31 },
} as const;
export type BucketWidth = keyof typeof BUCKET_WIDTHS;

const grouped = {
  project_id: z.string().nullable().describe('Project; null unless grouped by it.'),
  model: z.string().nullable().describe('Model; null unless grouped by it.'),
};

const notKept = { user_id: z.null(), api_key_id: z.null() };

export const CompletionsUsageResult = z
  .object({
    object: z.literal('organization.usage.completions.result'),
    input_tokens: z.number(),
    output_tokens: z.number(),
    num_model_requests: z.number(),
    input_cached_tokens: z.literal(0),
    input_audio_tokens: z.literal(0),
    output_audio_tokens: z.literal(0),
    ...grouped,
    ...notKept,
    batch: z.null(),
  })
  .meta({
    id: 'CompletionsUsageResult',
    description: 'Requests to chat and completion models in a bucket, and their tokens.',
  });
export type CompletionsUsageResult = z.infer<typeof CompletionsUsageResult>;

export const EmbeddingsUsageResult = z
  .object({
    object: z.literal('organization.usage.embeddings.result'),
    input_tokens: z.number(),
    num_model_requests: z.number(),
    ...grouped,
    ...notKept,
  })
  .meta({ id: 'EmbeddingsUsageResult', description: 'Requests for embeddings in a bucket.' });
export type EmbeddingsUsageResult = z.infer<typeof EmbeddingsUsageResult>;

export const TrainingUsageResult = z
  .object({
    object: z.literal('graft.usage.training.result'),
    training_seconds: z
      .number()
      .describe('Seconds that jobs trained in the bucket, summed over jobs.'),
    trained_tokens: z
      .number()
      .describe('Tokens trained in the bucket, without steps repeated after a resume.'),
    jobs_created: z.number(),
    jobs_succeeded: z.number(),
    jobs_failed: z.number(),
    jobs_cancelled: z.number(),
    ...grouped,
  })
  .meta({
    id: 'TrainingUsageResult',
    description: 'Jobs in a bucket. With `group_by=model`, `model` is the base model.',
  });
export type TrainingUsageResult = z.infer<typeof TrainingUsageResult>;

export const InferenceUsageResult = z
  .object({
    object: z.literal('graft.usage.inference.result'),
    input_tokens: z.number(),
    output_tokens: z.number(),
    num_model_requests: z.number(),
    ...grouped,
  })
  .meta({
    id: 'InferenceUsageResult',
    description: 'Requests to models of any kind in a bucket, and their tokens.',
  });
export type InferenceUsageResult = z.infer<typeof InferenceUsageResult>;

/** Page of buckets of a kind of usage. */
export const usagePage = <R extends z.ZodType>(id: string, result: R) =>
  z
    .object({
      object: z.literal('page'),
      data: z
        .array(
          z.object({
            object: z.literal('bucket'),
            start_time: z.number(),
            end_time: z.number(),
            results: z
              .array(result)
              .readonly()
              .describe(
                'One result per group; without `group_by`, one. Empty if nothing was used.',
              ),
          }),
        )
        .readonly(),
      has_more: z.boolean(),
      next_page: z
        .string()
        .nullable()
        .describe('Value of `page` for the next page; null on the last.'),
    })
    .meta({ id, description: 'Page of usage buckets, oldest first.' });

export const CompletionsUsagePage = usagePage('CompletionsUsagePage', CompletionsUsageResult);
export type CompletionsUsagePage = z.infer<typeof CompletionsUsagePage>;
export const EmbeddingsUsagePage = usagePage('EmbeddingsUsagePage', EmbeddingsUsageResult);
export type EmbeddingsUsagePage = z.infer<typeof EmbeddingsUsagePage>;
export const TrainingUsagePage = usagePage('TrainingUsagePage', TrainingUsageResult);
export type TrainingUsagePage = z.infer<typeof TrainingUsagePage>;
export const InferenceUsagePage = usagePage('InferenceUsagePage', InferenceUsageResult);
export type InferenceUsagePage = z.infer<typeof InferenceUsagePage>;
