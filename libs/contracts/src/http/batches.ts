// OpenAI's batch object.
import { z } from 'zod';

/** Endpoints that the requests of a batch may call. `/v1/classify` is Graft's own. */
export const BATCH_ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/embeddings',
  '/v1/completions',
  '/v1/classify',
] as const;
export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number];

export const BATCH_STATUSES = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

const time = z.number().nullable();

export const BatchProblem = z.object({
  code: z.string(),
  line: z.number().nullable(),
  message: z.string(),
  param: z.string().nullable(),
});
export type BatchProblem = z.infer<typeof BatchProblem>;

export const BatchObject = z
  .object({
    id: z.string(),
    object: z.literal('batch'),
    endpoint: z.enum(BATCH_ENDPOINTS),
    model: z.string().nullable().describe('Model of all requests; null if they name several'),
    errors: z
      .object({ object: z.literal('list'), data: z.array(BatchProblem).readonly() })
      .nullable()
      .describe('Problems of the input file, at most 20, for which the batch failed'),
    input_file_id: z.string(),
    completion_window: z.string(),
    status: z.enum(BATCH_STATUSES),
    output_file_id: z.string().nullable().describe('File with the responses of answered requests'),
    error_file_id: z.string().nullable().describe('File with the errors of the other requests'),
    created_at: z.number(),
    in_progress_at: time,
    expires_at: z.number(),
    finalizing_at: time,
    completed_at: time,
    failed_at: time,
    expired_at: time,
    cancelling_at: time,
    cancelled_at: time,
    request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
    usage: z.object({
      input_tokens: z.number(),
      input_tokens_details: z.object({ cached_tokens: z.number() }),
      output_tokens: z.number(),
      output_tokens_details: z.object({ reasoning_tokens: z.number() }),
      total_tokens: z.number(),
    }),
    metadata: z.record(z.string(), z.string()).readonly().nullable(),
    graft: z.object({
      waits_for: z
        .string()
        .nullable()
        .describe('Reason why no request is answered at the moment, such as a missing worker'),
    }),
  })
  .meta({ id: 'BatchObject', description: "Batch in OpenAI's format." });
export type BatchObject = z.infer<typeof BatchObject>;
