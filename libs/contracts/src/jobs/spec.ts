import { z } from 'zod';
import { AdapterOperation } from './adapter-operation.js';
import { SampleOptions } from './sample-prompts.js';
import { BatchSize, Epochs, Seed, TrainingOptions } from './training-options.js';

/** Everything that defines a run, with every "auto" resolved. Travels to the worker as JSON. */
export const Spec = z.strictObject({
  /** Id of the base model as the API lists it, or `dir:PATH` for a local run. */
  model: z.string().min(1),
  /** Hugging Face PEFT's config fields, checked by the method's own schema; null = full fine-tuning. */
  peft: z.looseObject({ peft_type: z.string() }).nullable(),
  /** Configs of the adapters that `peft` names, of a method that makes one of several; in their order. */
  adapters: z.array(z.looseObject({ peft_type: z.string() })).optional(),
  seed: Seed,
  batch_size: BatchSize,
  n_epochs: Epochs,
  /** An option that is absent has its default: an earlier version of the API may have written the Spec. */
  ...TrainingOptions.shape,
  /** Whether its model is that of its best evaluation, not of its last step. */
  load_best_model_at_end: z.boolean().optional(),
  /** The metric that tells which one is the best: the least is. Left out: the loss. */
  metric_for_best_model: z.string().optional(),
  /** Whether it is measured at the end how much of what the base could do is forgotten. */
  measure_forgetting: z.boolean().optional(),
  /** Whether each training example is looked at once more at the end, by itself. */
  loss_ledger: z.boolean().optional(),
  /** After which epochs it is, too. */
  loss_ledger_epochs: z.array(Epochs).readonly().optional(),
  /** What it answers at each evaluation, and in how many tokens at most. */
  ...SampleOptions.shape,
  /** What is made of adapters instead of training: of the rest, what says how the base lies in memory counts. */
  operation: AdapterOperation.optional(),
});
export type Spec = z.infer<typeof Spec>;
