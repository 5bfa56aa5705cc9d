// Training options. The `graft` object of a create request, the Spec sent to workers, the job object, the dashboard's
// form and the CLI's --set are derived from these schemas.
import { z } from 'zod';

/** OpenAI's limits for these hyperparameters. */
export const BatchSize = z.int().min(1).max(256);
export const Epochs = z.int().min(1).max(50);
export const Seed = z.int().min(0).max(2147483647);

/**
 * JSON schema keyword for fields that must have the same value in all trials of a sweep: the trials are compared by the
 * field, it decides where they run, or it does not change the model. The dashboard reads the keyword.
 */
export const SAME_IN_SWEEP = { 'x-same-in-sweep': true } as const;

/** Training options of a Spec. Options with a default are optional in a create request. */
export const TrainingOptions = z.strictObject({
  task: z
    .string()
    .max(100)
    .describe("Training task, such as causal_lm. Default: the task that OpenAI's `method` implies")
    .meta(SAME_IN_SWEEP),
  task_options: z
    .record(z.string().max(100), z.unknown())
    .describe('Options of the task')
    .meta(SAME_IN_SWEEP)
    .default({}),
  learning_rate: z
    .number()
    .positive()
    .describe(
      'Peak learning rate; overrides learning_rate_multiplier. Default: depends on the method',
    ),
  lr_schedule: z
    .enum(['linear', 'cosine', 'constant'])
    .describe('Learning rate schedule after warm-up')
    .default('linear'),
  warmup_ratio: z
    .number()
    .min(0)
    .max(1)
    .describe('Fraction of the steps used for warm-up, from 0 to 1')
    .default(0.03),
  optimizer: z
    .enum(['adamw', 'lorafa'])
    .describe(
      "adamw, or lorafa: LoRA-FA, which trains only LoRA's B matrices and adjusts their gradients to approximate full fine-tuning",
    )
    .default('adamw'),
  weight_decay: z
    .number()
    .min(0)
    .max(10)
    .describe('Decoupled weight decay, as in AdamW')
    .default(0),
  loraplus_lr_ratio: z
    .number()
    .min(1)
    .max(10_000)
    .nullable()
    .describe("LoRA+: ratio of the learning rate of LoRA's B matrices to that of A, such as 16")
    .default(null),
  loraplus_lr_embedding: z
    .number()
    .positive()
    .describe('LoRA+: learning rate of target modules that are embeddings')
    .default(1e-6),
  max_grad_norm: z
    .number()
    .min(0)
    .describe('Maximum norm to which gradients are clipped; 0: no clipping')
    .default(1),
  gradient_accumulation_steps: z
    .int()
    .min(1)
    .max(1024)
    .describe('Micro-batches per optimizer step')
    .default(1),
  gradient_checkpointing: z
    .boolean()
    .describe(
      'Recompute activations in the backward pass instead of storing them: much less memory, up to 50 % slower, identical results',
    )
    .meta(SAME_IN_SWEEP)
    .default(false),
  max_seq_len: z
    .int()
    .min(8)
    .nullable()
    .describe('Maximum length of an example, in tokens; longer examples are truncated')
    .meta(SAME_IN_SWEEP)
    .default(null),
  max_steps: z
    .int()
    .min(1)
    .nullable()
    .describe('Stop after this many optimizer steps; null: no limit')
    .default(null),
  shuffle: z.boolean().describe('Shuffle the examples in each epoch, using the seed').default(true),
  validation_split: z
    .number()
    .gt(0)
    .lt(1)
    .nullable()
    .describe(
      'Fraction of the training file to hold out as validation data, such as 0.1; identical records stay together',
    )
    .meta(SAME_IN_SWEEP)
    .default(null),
  stratify_by_column: z
    .enum(['label'])
    .nullable()
    .describe(
      'label: hold out each label in the same proportion as in the training file, like `train_test_split` of datasets; null: ignore labels',
    )
    .meta(SAME_IN_SWEEP)
    .optional(),
  split_seed: Seed.nullable()
    .describe(
      'Seed that selects the held-out records. Jobs on the same file with the same value hold out the same records; null: use `seed`',
    )
    .meta(SAME_IN_SWEEP)
    .optional(),
  eval_steps: z
    .int()
    .min(0)
    .describe('Steps between evaluations; 0: evaluate only at the end')
    .default(0),
  early_stopping_patience: z
    .int()
    .min(1)
    .nullable()
    .describe(
      'Stop after this many consecutive evaluations that do not lower the validation loss by at least 0.5 %; null: never',
    )
    .default(null),
  save_steps: z
    .int()
    .min(0)
    .describe(
      'Steps between checkpoints; 0: save by time and at the end of each epoch. A checkpoint is always saved at the end',
    )
    .default(0),
  base_dtype: z
    .enum(['bf16', 'f32'])
    .describe("Data type of the base model's weights and activations")
    .default('bf16'),
  quantization: z
    .string()
    .max(100)
    .nullable()
    .describe(
      "Quantization of the frozen base's linear layers; null: as stored in the base's files. Full fine-tuning does not support it",
    )
    .default(null),
});
export type TrainingOptions = z.infer<typeof TrainingOptions>;

export const TRAINING_OPTIONS = Object.keys(
  TrainingOptions.shape,
) as readonly (keyof TrainingOptions)[];

/** An optional field of a request. No default is filled in: a field that was not sent stays undefined. */
type OptionalField<F extends z.ZodType> = z.ZodOptional<F extends z.ZodDefault<infer I> ? I : F>;

type OptionalShape<S extends Readonly<Record<string, z.ZodType>>> = {
  [K in keyof S]: OptionalField<S[K]>;
};

/** Returns the options as optional request fields whose JSON schema documents the default. */
export function optionalFields<S extends Readonly<Record<string, z.ZodType>>>(
  shape: S,
): OptionalShape<S> {
  const fields = Object.entries(shape).map(([name, field]) => {
    if (!(field instanceof z.ZodDefault)) return [name, field.optional()];
    const inner = (field as z.ZodDefault<z.ZodType>).unwrap();
    return [name, inner.optional().meta({ ...inner.meta(), default: field.def.defaultValue })];
  });
  return Object.fromEntries(fields) as OptionalShape<S>;
}
