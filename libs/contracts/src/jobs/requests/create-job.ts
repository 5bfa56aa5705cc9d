import { z } from 'zod';
import { JobIntegrations } from '../../integrations/integrations.js';
import { POOL_NAME, POOL_NAME_RULE } from '../../organization/pool-name.js';
import { grouped } from '../../http/problem.js';
import { SAMPLE_TOKENS, SampleOptions } from '../sample-prompts.js';
import {
  optionalFields,
  BatchSize,
  Epochs,
  SAME_IN_SWEEP,
  Seed,
  TrainingOptions,
} from '../training-options.js';
import { HELD_OUT, HELD_OUT_FROM, SPLIT_SEED } from '../validation.js';

// Body of POST /v1/fine_tuning/jobs: OpenAI's fields plus `peft` and `graft` (docs/reference/jobs.md). The method's own
// schema checks the fields of `peft`.

/** Maximum length of a model or file name in characters; it may be a path. */
const LONGEST_NAME = 4096;

const auto = <T extends z.ZodType>(schema: T) => z.union([z.literal('auto'), schema]);

export const Hyperparameters = z.strictObject({
  batch_size: auto(BatchSize).optional(),
  learning_rate_multiplier: auto(z.number().positive()).optional(),
  n_epochs: auto(Epochs).optional(),
});
export type Hyperparameters = z.infer<typeof Hyperparameters>;

/** OpenAI's fine-tuning methods. Hyperparameters that only one method has become options of its task. */
export const METHOD_HYPERPARAMETERS = {
  supervised: Hyperparameters,
  dpo: Hyperparameters.extend({ beta: auto(z.number().positive().max(2)).optional() }),
};
export type FineTuningMethod = keyof typeof METHOD_HYPERPARAMETERS;
export const FINE_TUNING_METHODS = Object.keys(METHOD_HYPERPARAMETERS) as FineTuningMethod[];

const options = optionalFields(TrainingOptions.shape);

/** Returns a request field whose default depends on the data, so that an absent field differs from null. */
const byData = <F extends z.ZodType>(field: F, more: string): z.ZodOptional<F> =>
  field.describe(`${field.description}. ${more}`).optional();

export const GraftOptions = z.strictObject({
  ...options,
  learning_rate: options.learning_rate.unwrap().max(10).optional(),
  validation_split: byData(
    TrainingOptions.shape.validation_split.unwrap(),
    `null: hold out nothing. Default: ${HELD_OUT} for files of at least ${HELD_OUT_FROM} records, otherwise null`,
  ),
  eval_steps: byData(
    TrainingOptions.shape.eval_steps.unwrap(),
    'Default: once per epoch if the job has validation data, otherwise 0',
  ),
  stratify_by_column: byData(
    TrainingOptions.shape.stratify_by_column.unwrap(),
    'Default: label if every record has one, otherwise null',
  ),
  split_seed: byData(
    TrainingOptions.shape.split_seed.unwrap(),
    `Default: ${SPLIT_SEED} if records are held out`,
  ),
  init_adapter: z
    .string()
    .max(LONGEST_NAME)
    .optional()
    .describe('Fine-tuned model whose adapter training starts from (dir:PATH for local runs)')
    .meta(SAME_IN_SWEEP),
  eval: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .describe(
      'ID of an eval or eval run that scores each checkpoint, with the items and prompts of that run (for an eval, of its newest run)',
    )
    .meta(SAME_IN_SWEEP),
  load_best_model_at_end: z
    .boolean()
    .optional()
    .meta({
      ...SAME_IN_SWEEP,
      default: true,
      description:
        'Publish the weights of the best evaluation instead of the last step. Applies to jobs that train an adapter and are evaluated during training',
    }),
  metric_for_best_model: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .describe(
      'Metric that decides which evaluation is best, such as wer; lower is better. Default: the validation loss',
    )
    .meta(SAME_IN_SWEEP),
  measure_forgetting: z
    .boolean()
    .optional()
    .meta({
      ...SAME_IN_SWEEP,
      default: false,
      description: 'At the end, measure the loss of fixed texts with and without the adapter',
    }),
  loss_ledger: z
    .boolean()
    .optional()
    .meta({
      ...SAME_IN_SWEEP,
      default: false,
      description:
        'At the end, measure the loss of each training example, to find the rows that the model learned worst',
    }),
  loss_ledger_epochs: z
    .array(Epochs)
    .min(1)
    .max(50)
    .optional()
    .describe(
      'Epochs after which the loss of each training example is also measured, such as [1, 3]',
    )
    .meta(SAME_IN_SWEEP),
  sample_prompts: SampleOptions.shape.sample_prompts
    .describe(
      'Up to 8 prompts that the adapter answers at the start, at each evaluation and at the end: texts to continue, or lists of messages',
    )
    .meta(SAME_IN_SWEEP),
  sample_max_tokens: SampleOptions.shape.sample_max_tokens.meta({
    ...SAME_IN_SWEEP,
    default: SAMPLE_TOKENS,
    description: 'Maximum tokens of each answer to a sample prompt',
  }),
  pool: z
    .string()
    .regex(POOL_NAME, POOL_NAME_RULE)
    .optional()
    .meta({ ...SAME_IN_SWEEP, default: 'default', description: 'Worker pool that runs the job' }),
  priority: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .meta({
      ...SAME_IN_SWEEP,
      default: 100,
      description: 'Priority from 1 to 1000; jobs with a lower number start first',
    }),
});
export type GraftOptions = z.infer<typeof GraftOptions>;

/**
 * Size limits of `peft`, far above what any model needs: the settings are sent with each attempt and quoted in messages.
 */
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

const method = <M extends FineTuningMethod>(name: M) =>
  z.strictObject({ hyperparameters: METHOD_HYPERPARAMETERS[name].optional() }).optional();

const Method = z
  .strictObject({
    type: z.enum(FINE_TUNING_METHODS),
    supervised: method('supervised'),
    dpo: method('dpo'),
  })
  .superRefine(({ type, ...of }, context) => {
    const other = Object.keys(of).find((name) => name !== type);
    if (other === undefined) return;
    const message = `requires method.type ${other}, but method.type is ${type}`;
    context.addIssue({ code: 'custom', path: [other], message });
  });

export const CreateJob = z.strictObject({
  model: z.string().min(1).max(LONGEST_NAME),
  training_file: z.string().min(1).max(LONGEST_NAME),
  validation_file: z.string().min(1).max(LONGEST_NAME).nullish(),
  suffix: z.string().min(1).max(64).nullish(),
  seed: Seed.nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  integrations: JobIntegrations.nullish(),
  hyperparameters: Hyperparameters.nullish(),
  method: Method.nullish(),
  peft: Peft.nullable().optional(),
  graft: GraftOptions.nullish(),
});
export type CreateJob = z.infer<typeof CreateJob>;

/** Returns the requested hyperparameters: those of `method`, or of OpenAI's deprecated field `hyperparameters`. */
export function hyperparametersOf({
  method,
  hyperparameters,
}: Pick<CreateJob, 'hyperparameters' | 'method'>): Hyperparameters {
  return (method && method[method.type]?.hyperparameters) ?? hyperparameters ?? {};
}

/** Returns an error message for a value that exceeds PEFT_LIMITS, or null. */
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
    if (tooLong) return `${isList ? `entry ${i + 1}` : 'a name in it'} ${tooLong}`;
  }
  return null;
}
