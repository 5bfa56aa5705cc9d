import { z } from 'zod';
import { grouped } from './problem.js';

// The body of POST /v1/fine_tuning/jobs: OpenAI's fields plus `peft` and `graft`
// (reference: docs/api.md). `peft` is checked by the method's own schema, not here.

/** Of a model or file, which may be a path. */
const LONGEST_NAME = 4096;

const auto = <T extends z.ZodType>(schema: T) => z.union([z.literal('auto'), schema]);

export const Hyperparameters = z.strictObject({
  batch_size: auto(z.int().min(1).max(256)).optional(),
  learning_rate_multiplier: auto(z.number().positive()).optional(),
  n_epochs: auto(z.int().min(1).max(50)).optional(),
});
export type Hyperparameters = z.infer<typeof Hyperparameters>;

// Where a field has one default, it is said here for people; `resolveSpec` of peft-core gives it, and a spec compares.
export const GraftOptions = z.strictObject({
  task: z
    .string()
    .max(100)
    .optional()
    .meta({ default: 'causal_lm', description: 'What the model learns to do' }),
  learning_rate: z
    .number()
    .positive()
    .max(10)
    .optional()
    .describe('Absolute; wins over the multiplier. Each method has its own default'),
  lr_schedule: z
    .enum(['linear', 'cosine', 'constant'])
    .optional()
    .meta({ default: 'linear', description: 'How the rate falls after warming up' }),
  warmup_ratio: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .meta({ default: 0.03, description: 'Share of the steps spent warming up' }),
  optimizer: z.enum(['adamw']).optional().meta({ default: 'adamw' }),
  weight_decay: z
    .number()
    .min(0)
    .max(10)
    .optional()
    .meta({ default: 0, description: 'Decoupled, as in AdamW' }),
  max_grad_norm: z
    .number()
    .min(0)
    .optional()
    .meta({ default: 1, description: 'Gradients are clipped to this norm; 0 = never' }),
  gradient_accumulation_steps: z
    .int()
    .min(1)
    .max(1024)
    .optional()
    .meta({ default: 1, description: 'Micro-batches in one optimiser step' }),
  max_seq_len: z.int().min(8).optional().describe('Longer examples are cut, in tokens'),
  max_steps: z.int().min(1).optional().describe('Stop after this many optimiser steps'),
  shuffle: z
    .boolean()
    .optional()
    .meta({ default: true, description: 'A new order in each epoch, from the seed' }),
  eval_steps: z
    .int()
    .min(0)
    .optional()
    .meta({ default: 0, description: 'Steps between validation losses; 0: only at the end' }),
  save_steps: z.int().min(0).optional().meta({
    default: 0,
    description:
      'Steps between checkpoints; 0: by time and at the ends of epochs. There is one at the end',
  }),
  base_dtype: z
    .enum(['bf16', 'f32'])
    .optional()
    .meta({ default: 'bf16', description: "Of the base's weights and activations" }),
  quantization: z
    .string()
    .max(100)
    .nullable()
    .optional()
    .meta({ default: null, description: 'Of the frozen base' }),
  init_adapter: z
    .string()
    .max(LONGEST_NAME)
    .optional()
    .describe('Start from this fine-tuned model (or dir:PATH locally)'),
  pool: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'may have lower-case letters, digits and "-"')
    .optional()
    .meta({ default: 'default', description: 'Workers that may take the job' }),
  priority: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .meta({ default: 100, description: 'Lower runs first' }),
});
export type GraftOptions = z.infer<typeof GraftOptions>;

/** Far more than any model needs: a run's settings travel with each attempt, and its messages show them. */
const PEFT_LIMITS = { json: 60_000, text: 8192, entries: 1000, name: 200 };

const Peft = z.looseObject({ peft_type: z.string() }).superRefine((peft, context) => {
  const names = excess(peft);
  if (names) return context.addIssue({ code: 'custom', message: names });
  for (const [field, value] of Object.entries(peft)) {
    const message = excess(value);
    if (message) return context.addIssue({ code: 'custom', path: [field], message });
  }
  const { length } = JSON.stringify(peft);
  if (length <= PEFT_LIMITS.json) return;
  const message = `must have at most ${grouped(PEFT_LIMITS.json)} characters as JSON, got ${grouped(length)}`;
  context.addIssue({ code: 'custom', message });
});

const supervised = z.strictObject({
  type: z.literal('supervised'),
  supervised: z.strictObject({ hyperparameters: Hyperparameters.optional() }).optional(),
});

export const CreateJob = z.strictObject({
  model: z.string().min(1).max(LONGEST_NAME),
  training_file: z.string().min(1).max(LONGEST_NAME),
  validation_file: z.string().min(1).max(LONGEST_NAME).nullish(),
  suffix: z.string().min(1).max(64).nullish(),
  seed: z.int().min(0).max(2147483647).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  integrations: z
    .array(z.unknown())
    .max(0, 'integrations are not supported; leave the list out')
    .nullish(),
  hyperparameters: Hyperparameters.nullish(),
  method: supervised.nullish(),
  peft: Peft.nullable().optional(),
  graft: GraftOptions.nullish(),
});
export type CreateJob = z.infer<typeof CreateJob>;

/** What a value has too much of; null if nothing. */
function excess(value: unknown): string | null {
  const { text, entries, name } = PEFT_LIMITS;
  const most = (limit: number, what: string, got: number): string | null =>
    got <= limit ? null : `must have at most ${grouped(limit)} ${what}, got ${grouped(got)}`;
  if (typeof value === 'string') return most(text, 'characters', value.length);
  if (typeof value !== 'object' || value === null) return null;
  const isList = Array.isArray(value);
  const names = isList ? value : Object.keys(value);
  const tooMany = most(entries, 'entries', names.length);
  if (tooMany) return tooMany;
  for (const [i, entry] of names.entries()) {
    const tooLong = typeof entry === 'string' ? most(name, 'characters', entry.length) : null;
    if (tooLong) return `${isList ? `entry ${i + 1}` : 'names in it'} ${tooLong}`;
  }
  return null;
}
