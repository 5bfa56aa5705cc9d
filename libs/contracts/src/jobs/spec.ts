import { z } from 'zod';
import { AdapterOperation } from './adapter-operation.js';
import { SampleOptions } from './sample-prompts.js';
import { BatchSize, Epochs, Seed, TrainingOptions } from './training-options.js';

/** Complete definition of a run, with every "auto" resolved. The API sends it to the worker as JSON. */
export const Spec = z.strictObject({
  /** ID of the base model in the API, or `dir:PATH` for a local run. */
  model: z.string().min(1),
  /** Config fields of Hugging Face PEFT, checked by the method's schema; null for full fine-tuning. */
  peft: z.looseObject({ peft_type: z.string() }).nullable(),
  /** Configs of the adapters that `peft` names, in the same order; for methods that combine several adapters. */
  adapters: z.array(z.looseObject({ peft_type: z.string() })).optional(),
  seed: Seed,
  batch_size: BatchSize,
  n_epochs: Epochs,
  /** Absent options have their defaults: an older version of the API may have written the Spec. */
  ...TrainingOptions.shape,
  /** Whether to publish the weights of the best evaluation instead of the last step. */
  load_best_model_at_end: z.boolean().optional(),
  /** Metric that decides which evaluation is best; lower is better. Default: the validation loss. */
  metric_for_best_model: z.string().optional(),
  /** Whether to measure at the end how much the loss of fixed texts has risen over the base model's. */
  measure_forgetting: z.boolean().optional(),
  /** Whether to measure the loss of each training example at the end. */
  loss_ledger: z.boolean().optional(),
  /** Epochs after which the loss of each training example is also measured. */
  loss_ledger_epochs: z.array(Epochs).readonly().optional(),
  /** Sample prompts, and the maximum length of their answers. */
  ...SampleOptions.shape,
  /** Operation on adapters to run instead of training. Of the other options, only those for loading the base apply. */
  operation: AdapterOperation.optional(),
});
export type Spec = z.infer<typeof Spec>;
