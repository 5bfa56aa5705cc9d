/**
 * What this build can train, and the checks of a job before anything native runs. Derived from the registries;
 * importing it loads neither libtorch nor the tokenizer.
 */
import { DomainError, GraftOptions, Spec, fieldPaths } from '@graft/contracts';
import type {
  Catalog,
  CatalogMethod,
  CreateJob,
  Hyperparameters,
  JsonSchema,
} from '@graft/contracts';
import { z } from 'zod';
import { parsePeft, withJobDefaults } from './methods/config.js';
import type { PeftConfig } from './methods/config.js';
import type { Method } from './methods/method.js';
import { DEFAULT_PEFT, methodFor, methods } from './methods/registry.js';
import { forType, models } from './models/registry.js';
import { quantizerFor, quantizers } from './quant/registry.js';
import { recordTasks, tasks } from './tasks/registry.js';
import { autoNumbers } from './train/auto.js';

export { LineRanges } from './data/line-ranges.js';
export { readJsonObject, readRecord } from './data/records.js';
export { shapeOf } from './data/shapes.js';
export type { Columns, Shape } from './data/shapes.js';
export { inspectModelFolder } from './io/inspect.js';
export type { ModelInspection } from './io/inspect.js';
export type { PeftConfig } from './methods/config.js';
export type { HfConfig } from './models/model.js';
export { cutAt, footprintOf } from './plan.js';
export { totalSteps } from './train/cursor.js';
export type { BaseFootprint } from './plan.js';

/** GET /v1/catalog. */
export function catalog(): Catalog {
  return {
    object: 'graft.catalog',
    methods: methods.map(describeMethod),
    families: models.map(({ name, title, modelTypes }) => ({
      name,
      title,
      model_types: modelTypes,
    })),
    tasks: tasks.map(({ name, title, summary, recordFormats }) => ({
      name,
      title,
      summary,
      record_formats: recordFormats,
    })),
    quantizers: quantizers.map(({ name, title }) => ({ name, title })),
    graft_schema: z.toJSONSchema(GraftOptions, { io: 'input' }),
  };
}

function describeMethod(method: Method): CatalogMethod {
  return {
    peft_type: method.name,
    title: method.title,
    summary: method.summary,
    paper: method.paper,
    default_learning_rate: method.defaultLearningRate,
    tasks: tasks.map(({ name }) => name),
    schema: jobSchema(method),
  };
}

/** The method's fields, with the defaults that a job gets. */
function jobSchema(method: Method): JsonSchema {
  const schema = z.toJSONSchema(method.options, { io: 'input' });
  const fields = schema.properties as Record<string, JsonSchema>;
  for (const [name, value] of Object.entries(method.jobDefaults?.({}) ?? {}))
    fields[name] = { ...fields[name], default: value };
  return schema;
}

/** Paths of all fields that any method's config has (`peft.r`). */
export const peftFields = (): string[] =>
  methods.flatMap(({ options }) => fieldPaths(options, 'peft.'));

/**
 * A job's PEFT config with its defaults filled in; with a config.json's `modelType`, also checked against the family.
 * @throws DomainError with param `peft.<field>`, or invalid_model for an unknown `modelType`
 */
export function checkPeft(peft: PeftConfig, modelType?: string): PeftConfig {
  const { method, options } = parsePeft(withJobDefaults(peft));
  if (modelType !== undefined) method.check?.(options, forType(modelType).linears);
  return peft === null ? null : { ...(options as object), peft_type: method.name };
}

/** What is known of a job when its Spec is resolved. */
export interface JobFacts {
  readonly trainingRecords: number;
  /** model_type of the base's config.json, when it is known. */
  readonly modelType?: string;
}

const DEFAULT_SEED = 42;

/**
 * A Spec with every "auto" and every default resolved.
 * @throws DomainError naming the field that is wrong
 */
export function resolveSpec(body: CreateJob, facts: JobFacts): Spec {
  const peft = checkPeft(body.peft === undefined ? DEFAULT_PEFT : body.peft, facts.modelType);
  const graft = body.graft ?? {};
  const numbers = body.method?.supervised?.hyperparameters ?? body.hyperparameters ?? {};
  const given = <T>(value: T | 'auto' | undefined, otherwise: T): T =>
    value === undefined || value === 'auto' ? otherwise : value;
  const task = checkTask(graft.task ?? 'causal_lm');
  checkQuantization(graft.quantization ?? null, peft);
  return Spec.parse({
    model: body.model,
    task,
    peft,
    seed: body.seed ?? DEFAULT_SEED,
    ...sizes(numbers, graft, facts.trainingRecords),
    max_steps: graft.max_steps ?? null,
    learning_rate:
      graft.learning_rate ??
      methodFor(peft).defaultLearningRate * given(numbers.learning_rate_multiplier, 1),
    lr_schedule: graft.lr_schedule ?? 'linear',
    warmup_ratio: graft.warmup_ratio ?? 0.03,
    optimizer: graft.optimizer ?? 'adamw',
    weight_decay: graft.weight_decay ?? 0,
    max_grad_norm: graft.max_grad_norm ?? 1,
    gradient_accumulation_steps: graft.gradient_accumulation_steps ?? 1,
    max_seq_len: graft.max_seq_len ?? null,
    shuffle: graft.shuffle ?? true,
    eval_steps: graft.eval_steps ?? 0,
    save_steps: graft.save_steps ?? 0,
    base_dtype: graft.base_dtype ?? 'bf16',
    quantization: graft.quantization ?? null,
  } satisfies Spec);
}

function sizes(
  { batch_size, n_epochs }: Hyperparameters,
  graft: GraftOptions,
  records: number,
): Pick<Spec, 'batch_size' | 'n_epochs'> {
  const { batchSize, epochs } = autoNumbers({
    records,
    accumulation: graft.gradient_accumulation_steps ?? 1,
    maxSteps: graft.max_steps ?? null,
    ...(typeof batch_size === 'number' ? { batchSize: batch_size } : {}),
    ...(typeof n_epochs === 'number' ? { epochs: n_epochs } : {}),
  });
  return { batch_size: batchSize, n_epochs: epochs };
}

function checkTask(name: string): string {
  if (recordTasks.has(name)) return name;
  const known = [...recordTasks.keys()].join(', ');
  throw new DomainError(
    'invalid_value',
    `task "${name}" is unknown; there are: ${known}`,
    'graft.task',
  );
}

function checkQuantization(name: string | null, peft: PeftConfig): void {
  if (name === null) return;
  quantizerFor(name);
  if (peft !== null) return;
  const message =
    'a quantised base cannot be trained whole; choose a method in `peft` or leave quantization out';
  throw new DomainError('invalid_value', message, 'graft.quantization');
}
