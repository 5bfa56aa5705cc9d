import { z } from 'zod';

// The body of POST /v1/fine_tuning/jobs: OpenAI's fields plus `peft` and `graft`
// (reference: docs/api.md). `peft` is checked by the method's own schema, not here.

const auto = <T extends z.ZodType>(schema: T) => z.union([z.literal('auto'), schema]);

export const Hyperparameters = z.strictObject({
  batch_size: auto(z.int().min(1).max(256)).optional(),
  learning_rate_multiplier: auto(z.number().positive()).optional(),
  n_epochs: auto(z.int().min(1).max(50)).optional(),
});

export const GraftOptions = z.strictObject({
  task: z.string().optional().describe('What the model learns to do, e.g. causal_lm'),
  learning_rate: z
    .number()
    .positive()
    .max(10)
    .optional()
    .describe('Absolute; wins over the multiplier'),
  lr_schedule: z.enum(['linear', 'cosine', 'constant']).optional(),
  warmup_ratio: z.number().min(0).max(1).optional().describe('Share of the steps spent warming up'),
  optimizer: z.enum(['adamw']).optional(),
  weight_decay: z.number().min(0).max(10).optional(),
  max_grad_norm: z
    .number()
    .min(0)
    .optional()
    .describe('Gradients are clipped to this norm; 0 = never'),
  gradient_accumulation_steps: z.int().min(1).max(1024).optional(),
  max_seq_len: z.int().min(8).optional().describe('Longer examples are cut, in tokens'),
  max_steps: z.int().min(1).optional().describe('Stop after this many optimiser steps'),
  shuffle: z.boolean().optional(),
  eval_steps: z.int().min(0).optional(),
  save_steps: z.int().min(0).optional(),
  base_dtype: z.enum(['bf16', 'f32']).optional(),
  quantization: z.string().nullable().optional(),
  init_adapter: z
    .string()
    .optional()
    .describe('Start from this fine-tuned model (or dir:PATH locally)'),
  pool: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'may have lower-case letters, digits and "-"')
    .optional()
    .describe('Worker pool; default "default"'),
  priority: z.int().min(1).max(1000).optional().describe('Lower runs first; default 100'),
});
export type GraftOptions = z.infer<typeof GraftOptions>;

const supervised = z.strictObject({
  type: z.literal('supervised'),
  supervised: z.strictObject({ hyperparameters: Hyperparameters.optional() }).optional(),
});

export const CreateJob = z.strictObject({
  model: z.string().min(1),
  training_file: z.string().min(1),
  validation_file: z.string().min(1).nullish(),
  suffix: z.string().min(1).max(64).nullish(),
  seed: z.int().min(0).max(2147483647).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  integrations: z
    .array(z.unknown())
    .max(0, 'integrations are not supported; leave the list out')
    .nullish(),
  hyperparameters: Hyperparameters.nullish(),
  method: supervised.nullish(),
  peft: z.looseObject({ peft_type: z.string() }).nullable().optional(),
  graft: GraftOptions.nullish(),
});
export type CreateJob = z.infer<typeof CreateJob>;
