// Options of training, each written once. The create call's `graft`, the Spec that a worker gets, the echo on a job, the
// form, the CLI's --set and the table in docs/api.md follow from here.
import { z } from 'zod';

/** OpenAI's bounds. */
export const BatchSize = z.int().min(1).max(256);
export const Epochs = z.int().min(1).max(50);
export const Seed = z.int().min(0).max(2147483647);

/**
 * A field of this kind has the same value in all trials of a sweep: they are compared by it, it decides where they run,
 * or it does not change the model. The dashboard reads the keyword from the JSON schema.
 */
export const SAME_IN_SWEEP = { 'x-same-in-sweep': true } as const;

/** As a Spec holds them; one with a default may be left out of a create call. */
export const TrainingOptions = z.strictObject({
  task: z
    .string()
    .max(100)
    .describe("What the model learns to do. Default: the task of OpenAI's `method`")
    .meta(SAME_IN_SWEEP),
  task_options: z
    .record(z.string().max(100), z.unknown())
    .describe("The task's own options")
    .meta(SAME_IN_SWEEP)
    .default({}),
  learning_rate: z
    .number()
    .positive()
    .describe('Absolute; overrides the multiplier. Each method has its own default'),
  lr_schedule: z
    .enum(['linear', 'cosine', 'constant'])
    .describe('Shape of the decay after warm-up')
    .default('linear'),
  warmup_ratio: z
    .number()
    .min(0)
    .max(1)
    .describe('Fraction of the steps used for warm-up')
    .default(0.03),
  optimizer: z
    .enum(['adamw', 'lorafa'])
    .describe("adamw, or lorafa: LoRA's B alone, with gradients as of the whole weight (LoRA-FA)")
    .default('adamw'),
  weight_decay: z.number().min(0).max(10).describe('Decoupled, as in AdamW').default(0),
  loraplus_lr_ratio: z
    .number()
    .min(1)
    .max(10_000)
    .nullable()
    .describe("LoRA+: learning rate of LoRA's B over that of A, e.g. 16")
    .default(null),
  loraplus_lr_embedding: z
    .number()
    .positive()
    .describe('LoRA+: learning rate of an embedding that is a target')
    .default(1e-6),
  max_grad_norm: z
    .number()
    .min(0)
    .describe('Gradients are clipped to this norm; 0: no clipping')
    .default(1),
  gradient_accumulation_steps: z
    .int()
    .min(1)
    .max(1024)
    .describe('Micro-batches per optimiser step')
    .default(1),
  gradient_checkpointing: z
    .boolean()
    .describe(
      'Compute each layer once more on the way back instead of keeping what it made: far less memory, up to half more time, the same numbers',
    )
    .meta(SAME_IN_SWEEP)
    .default(false),
  max_seq_len: z
    .int()
    .min(8)
    .nullable()
    .describe('Longer examples are truncated to this many tokens')
    .meta(SAME_IN_SWEEP)
    .default(null),
  max_steps: z
    .int()
    .min(1)
    .nullable()
    .describe('Stop after this many optimiser steps')
    .default(null),
  shuffle: z.boolean().describe('Shuffle the examples in each epoch, by the seed').default(true),
  validation_split: z
    .number()
    .gt(0)
    .lt(1)
    .nullable()
    .describe(
      'Share of the training file that is held out as validation data, e.g. 0.1; equal records stay together',
    )
    .meta(SAME_IN_SWEEP)
    .default(null),
  stratify_by_column: z
    .enum(['label'])
    .nullable()
    .describe(
      "label: what is held out has each label in the same proportion as the training file (datasets' word); null: records are drawn whatever their label",
    )
    .meta(SAME_IN_SWEEP)
    .optional(),
  split_seed: Seed.nullable()
    .describe(
      'Seed by which the held-out records are drawn. Jobs on one file that have it in common hold out the same records; null: by `seed`',
    )
    .meta(SAME_IN_SWEEP)
    .optional(),
  eval_steps: z.int().min(0).describe('Steps between evaluations; 0: only at the end').default(0),
  early_stopping_patience: z
    .int()
    .min(1)
    .nullable()
    .describe(
      'End the run after so many evaluations in a row without a validation loss that is lower by half a percent',
    )
    .default(null),
  save_steps: z
    .int()
    .min(0)
    .describe(
      'Steps between checkpoints; 0: by time and at the end of each epoch. One is always saved at the end',
    )
    .default(0),
  base_dtype: z
    .enum(['bf16', 'f32'])
    .describe("Data type of the base's weights and activations")
    .default('bf16'),
  quantization: z
    .string()
    .max(100)
    .nullable()
    .describe(
      "How the matrices of the frozen base's blocks are packed; none: not at all, or as its files have them. A packed base trains adapters alone",
    )
    .default(null),
});
export type TrainingOptions = z.infer<typeof TrainingOptions>;

export const TRAINING_OPTIONS = Object.keys(
  TrainingOptions.shape,
) as readonly (keyof TrainingOptions)[];

/** A field that a request may leave out. Nothing is filled in: what was not asked for stays out of the request. */
type Asked<F extends z.ZodType> = z.ZodOptional<F extends z.ZodDefault<infer I> ? I : F>;

type AskedShape<S extends Readonly<Record<string, z.ZodType>>> = { [K in keyof S]: Asked<S[K]> };

/** The fields of a request for these options; their defaults are said to people. */
export function asked<S extends Readonly<Record<string, z.ZodType>>>(shape: S): AskedShape<S> {
  const fields = Object.entries(shape).map(([name, field]) => {
    if (!(field instanceof z.ZodDefault)) return [name, field.optional()];
    const inner = (field as z.ZodDefault<z.ZodType>).unwrap();
    return [name, inner.optional().meta({ ...inner.meta(), default: field.def.defaultValue })];
  });
  return Object.fromEntries(fields) as AskedShape<S>;
}
