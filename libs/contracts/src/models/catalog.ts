import { FINE_TUNING_METHODS } from '../jobs/create-job.js';
import { ModelUse } from './model-objects.js';

import { z } from 'zod';

export const StackKind = z
  .enum(['decoder', 'encoder', 'encoder_decoder'])
  .meta({ id: 'StackKind', description: 'What a model is made of.' });
export type StackKind = z.infer<typeof StackKind>;

export const InputKind = z
  .enum(['tokens', 'image', 'audio'])
  .meta({ id: 'InputKind', description: 'What a model reads.' });
export type InputKind = z.infer<typeof InputKind>;

export const RecordFormatDescription = z
  .object({
    name: z.string().describe("As a file's report counts them, under `formats`."),
    nouns: z
      .tuple([z.string(), z.string()])
      .readonly()
      .describe('What people call one and several.'),
    line: z.string().describe('A line of a training file, as shown to people.'),
    learnt: z
      .array(z.string())
      .readonly()
      .describe('Keys of what is learnt; the others are given, or what is not to be written.'),
    keys: z.array(z.string()).readonly().describe('Keys by which a record is told to be one.'),
    optional_keys: z.array(z.string()).readonly().describe('Further keys that it may have.'),
  })
  .meta({
    id: 'RecordFormatDescription',
    description: 'A form in which records of training data come.',
  });
export type RecordFormatDescription = z.infer<typeof RecordFormatDescription>;

export const MetricDescription = z
  .object({
    name: z.string(),
    title: z.string(),
    openai_name: z
      .exactOptional(z.string())
      .describe(
        "What OpenAI's events and checkpoints call it, after `train_` or `valid_`, where that is another name.",
      ),
    unit: z
      .string()
      .nullable()
      .describe("'%' of a fraction, which people see times 100; null for a number without one."),
    less_is_better: z
      .exactOptional(z.literal(true))
      .describe('Of one that `graft.metric_for_best_model` may name.'),
    draw: z
      .object({ smooth: z.boolean(), log: z.boolean() })
      .nullable()
      .describe(
        'How a chart shows it over the steps: with a moving average, on a log scale if asked for; null: no chart does.',
      ),
  })
  .meta({
    id: 'MetricDescription',
    description:
      'A number that is named once and carried by its name, from the trainer to files and charts.',
  });
export type MetricDescription = z.infer<typeof MetricDescription>;

export const JsonSchema = z.object({}).catchall(z.unknown()).meta({ id: 'JsonSchema' });
export type JsonSchema = z.infer<typeof JsonSchema>;

export const CatalogTask = z
  .object({
    name: z.string(),
    title: z.string(),
    summary: z.string(),
    method: z
      .enum(FINE_TUNING_METHODS)
      .describe("OpenAI's method of fine-tuning that its jobs are."),
    use: ModelUse.describe('How its models are used.'),
    stacks: z.array(StackKind).readonly().describe('What its bases may be made of.'),
    inputs: InputKind.describe('What its bases read.'),
    auto_model: z
      .string()
      .describe("transformers' class that loads its models: `AutoModelForCausalLM` and the like."),
    auto_peft_model: z.string().describe("PEFT's class that loads its adapters with their base."),
    learning_rate_scale: z
      .number()
      .describe("What a method's default learning rate is multiplied by."),
    record_formats: z
      .array(RecordFormatDescription)
      .readonly()
      .describe('Forms in which its records come.'),
    schema: JsonSchema.describe('JSON schema of its own options, `graft.task_options`.'),
    metrics: z
      .object({
        step: z.array(MetricDescription).readonly(),
        validation: z.array(MetricDescription).readonly(),
      })
      .describe(
        'Numbers of a step and of an evaluation, in the order in which people see them; the first is the loss.',
      ),
  })
  .meta({ id: 'CatalogTask' });
export type CatalogTask = z.infer<typeof CatalogTask>;

export const CatalogMethod = z
  .object({
    peft_type: z
      .string()
      .describe('What users type: PEFT\'s `peft_type`; "FULL" stands for `"peft": null`.'),
    title: z.string(),
    summary: z.string(),
    paper: z.string().nullable(),
    default_learning_rate: z.number(),
    tasks: z.array(z.string()).readonly(),
    schema: JsonSchema.describe(
      "JSON schema of the method's config fields, with defaults and descriptions: the form is drawn from it.",
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
          summary: z.string().describe('What it takes of memory, and what it changes.'),
        }),
      )
      .readonly(),
    graft_schema: JsonSchema.describe("JSON schema of the create body's `graft` object."),
  })
  .meta({
    id: 'Catalog',
    description: 'GET /v1/catalog: what this build can train, derived from the plug-in registries.',
  });
export type Catalog = z.infer<typeof Catalog>;
