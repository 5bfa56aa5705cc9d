import { z } from 'zod';

/** Everything that defines a run, with every "auto" resolved. Travels to the worker as JSON. */
export const Spec = z.strictObject({
  /** Id of the base model as the API lists it, or `dir:PATH` for a local run. */
  model: z.string().min(1),
  task: z.string().min(1),
  /** Hugging Face PEFT's config fields, checked by the method's own schema; null = full fine-tuning. */
  peft: z.looseObject({ peft_type: z.string() }).nullable(),
  seed: z.int().min(0).max(2147483647),
  batch_size: z.int().min(1).max(256),
  n_epochs: z.int().min(1).max(50),
  /** Stops earlier than n_epochs when set. */
  max_steps: z.int().min(1).nullable(),
  learning_rate: z.number().positive(),
  lr_schedule: z.enum(['linear', 'cosine', 'constant']),
  warmup_ratio: z.number().min(0).max(1),
  optimizer: z.enum(['adamw']),
  weight_decay: z.number().min(0),
  max_grad_norm: z.number().min(0),
  gradient_accumulation_steps: z.int().min(1).max(1024),
  max_seq_len: z.int().min(8).nullable(),
  shuffle: z.boolean(),
  /** Steps between evaluations on the validation file; 0 = only at the end. */
  eval_steps: z.int().min(0),
  /** Steps between checkpoints; 0 = by time and at the ends of epochs (libs/peft-core/src/train/cadence.ts). */
  save_steps: z.int().min(0),
  base_dtype: z.enum(['bf16', 'f32']),
  quantization: z.string().nullable(),
});
export type Spec = z.infer<typeof Spec>;
