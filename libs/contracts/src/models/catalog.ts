import { FINE_TUNING_METHODS } from '../jobs/requests/create-job.js';
import { ModelUse } from './model-objects.js';

import { z } from 'zod';

export const StackKind = z
  .enum(['decoder', 'encoder', 'encoder_decoder'])
  .meta({ id: 'StackKind', description: 'Architecture of a model.' });
export type StackKind = z.infer<typeof StackKind>;

export const InputKind = z
  .enum(['tokens', 'image', 'audio'])
  .meta({ id: 'InputKind', description: 'Kind of input that a model reads.' });
export type InputKind = z.infer<typeof InputKind>;

export const RecordFormatDescription = z
  .object({
    name: z.string().describe("Name of the format, as in `formats` of a file's report."),
    nouns: z
      .tuple([z.string(), z.string()])
      .readonly()
      .describe('Singular and plural noun for records of this format.'),
    line: z.string().describe('Example line of a training file.'),
    learnt: z
      .array(z.string())
      .readonly()
      .describe('Keys that hold training targets; other keys hold inputs or rejected outputs.'),
    keys: z.array(z.string()).readonly().describe('Keys that identify a record of this format.'),
    optional_keys: z.array(z.string()).readonly().describe('Optional keys of a record.'),
  })
  .meta({
    id: 'RecordFormatDescription',
    description: 'Format of training records.',
  });
export type RecordFormatDescription = z.infer<typeof RecordFormatDescription>;

export const MetricDescription = z
  .object({
    name: z.string(),
    title: z.string(),
    openai_name: z
      .exactOptional(z.string())
      .describe(
        "Name in OpenAI's events and checkpoints, after `train_` or `valid_`, if it differs.",
      ),
    unit: z
      .string()
      .nullable()
      .describe('Unit; `%` for a fraction that is displayed as a percentage, null for none.'),
    less_is_better: z
      .exactOptional(z.literal(true))
      .describe('Present if `graft.metric_for_best_model` may name the metric.'),
    draw: z
      .object({ smooth: z.boolean(), log: z.boolean() })
      .nullable()
      .describe(
        'Display in charts: whether to offer a moving average and a logarithmic scale; null if no chart shows it.',
      ),
  })
  .meta({
    id: 'MetricDescription',
    description: 'Metric that the trainer reports for steps or evaluations.',
  });
export type MetricDescription = z.infer<typeof MetricDescription>;

export const JsonSchema = z.object({}).catchall(z.unknown()).meta({ id: 'JsonSchema' });
export type JsonSchema = z.infer<typeof JsonSchema>;

export const CatalogTask = z
  .object({
    name: z.string(),
    title: z.string(),
    summary: z.string(),
    method: z.enum(FINE_TUNING_METHODS).describe("OpenAI's fine-tuning method of the task's jobs."),
    use: ModelUse.describe('Endpoint that the trained models are for.'),
    stacks: z
      .array(StackKind)
      .readonly()
      .describe('Architectures of base models that support the task.'),
    inputs: InputKind.describe('Kind of input that its base models read.'),
    auto_model: z
      .string()
      .describe('Class of transformers that loads its models, such as `AutoModelForCausalLM`.'),
    auto_peft_model: z
      .string()
      .describe('Class of PEFT that loads its adapters with their base model.'),
    learning_rate_scale: z.number().describe("Factor on the method's default learning rate."),
    record_formats: z
      .array(RecordFormatDescription)
      .readonly()
      .describe('Formats of its training records.'),
    schema: JsonSchema.describe('JSON schema of `graft.task_options`.'),
    metrics: z
      .object({
        step: z.array(MetricDescription).readonly(),
        validation: z.array(MetricDescription).readonly(),
      })
      .describe('Metrics of steps and evaluations in display order; the first is the loss.'),
  })
  .meta({ id: 'CatalogTask' });
export type CatalogTask = z.infer<typeof CatalogTask>;

export const CatalogMethod = z
  .object({
    peft_type: z
      .string()
      .describe('`peft_type` of PEFT; "FULL" stands for `"peft": null`, full fine-tuning.'),
    title: z.string(),
    summary: z.string(),
    paper: z.string().nullable(),
    default_learning_rate: z.number(),
    relative_size: z
      .number()
      .nullable()
      .describe(
        'Trainable parameters with default options, relative to LoRA of rank 16 on all linear layers.',
      ),
    prompts: z.boolean().describe('Whether it trains virtual tokens and not the weights.'),
    tasks: z.array(z.string()).readonly(),
    merges: z
      .boolean()
      .describe('Whether its adapters of text generation can be merged into the base model.'),
    converts_to_lora: z.boolean().describe('Whether its adapters can be converted to LoRA.'),
    schema: JsonSchema.describe(
      "JSON schema of the method's config fields, with defaults and descriptions.",
    ),
  })
  .meta({ id: 'CatalogMethod' });
export type CatalogMethod = z.infer<typeof CatalogMethod>;

export const Catalog = z
  .object({
    object: z.literal('graft.catalog'),
    methods: z.array(CatalogMethod).readonly(),
    families: z
      .array(
        z.object({
          name: z.string(),
          title: z.string(),
          stacks: StackKind,
          inputs: InputKind,
          model_types: z.array(z.string()).readonly(),
        }),
      )
      .readonly(),
    tasks: z.array(CatalogTask).readonly(),
    quantizers: z
      .array(
        z.object({
          name: z.string(),
          title: z.string(),
          summary: z.string().describe('Memory use and effect on accuracy, in a sentence.'),
        }),
      )
      .readonly(),
    graft_schema: JsonSchema.describe('JSON schema of the `graft` object of a create request.'),
  })
  .meta({
    id: 'Catalog',
    description: 'Methods, model families, tasks and quantizers that this build supports.',
  });
export type Catalog = z.infer<typeof Catalog>;
