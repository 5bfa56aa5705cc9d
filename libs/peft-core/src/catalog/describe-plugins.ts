/** Methods, models and tasks that this build can train, for GET /v1/catalog. */
import { fieldPaths, GraftOptions } from '@graft/contracts';
import type {
  Catalog,
  CatalogMethod,
  CatalogTask,
  JsonSchema,
  MetricDescription,
} from '@graft/contracts';
import { z } from 'zod';
import type { PeftConfig } from '../methods/frame/config.js';
import type { Method } from '../methods/method.js';
import { methods } from '../methods/registry.js';
import { takesTask } from '../methods/frame/task-needs.js';
import { models } from '../models/registry.js';
import { modelKind } from '../nn/outline/model-paths.js';
import { quantizers } from '../quant/registry.js';
import { inputsOf, stacksOf, tasks } from '../tasks/registry.js';
import { autoModel, autoPeftModel, type Task } from '../tasks/task.js';
import { useOf } from '../tasks/heads/model-use.js';
import { runMetrics } from '../train/run-metrics.js';

/** Returns the response of GET /v1/catalog. */
export function catalog(): Catalog {
  return {
    object: 'graft.catalog',
    methods: methods.map(describeMethod),
    families: models.map(({ name, title, modelTypes, paths }) => ({
      name,
      title,
      ...modelKind(paths),
      model_types: modelTypes,
    })),
    tasks: tasks.map(describeTask),
    quantizers: quantizers.map(({ name, title, summary }) => ({ name, title, summary })),
    graft_schema: graftSchema(),
  };
}

function describeTask(task: Task): CatalogTask {
  const { name, title, summary, method, learningRateScale = 1, options } = task;
  return {
    name,
    title,
    summary,
    method,
    use: useOf(task),
    stacks: stacksOf(task),
    inputs: inputsOf(task),
    auto_model: autoModel(task.peft),
    auto_peft_model: autoPeftModel(task.peft),
    learning_rate_scale: learningRateScale,
    record_formats: task.records.map(({ name, nouns, line, learnt, keys, more = [] }) => ({
      name,
      nouns,
      line,
      learnt,
      keys,
      optional_keys: more,
    })),
    schema: z.toJSONSchema(options, { io: 'input' }),
    metrics: describeMetrics(task),
  };
}

function describeMetrics({ metrics, inputs }: Task): CatalogTask['metrics'] {
  const own = metrics.map(({ of: _of, ...description }): MetricDescription => description);
  return { step: [...own, ...runMetrics(inputs)], validation: own };
}

/** Returns the metrics that jobs of a task report; only the run's own if the task is unknown. */
export function metricsOf(task: string): CatalogTask['metrics'] {
  const known = tasks.find(({ name }) => name === task);
  return known ? describeMetrics(known) : { step: runMetrics(), validation: [] };
}

function describeMethod(method: Method): CatalogMethod {
  return {
    peft_type: method.name,
    title: method.title,
    summary: method.summary,
    paper: method.paper,
    default_learning_rate: method.defaultLearningRate,
    relative_size: method.relativeSize ?? null,
    prompts: method.virtual !== undefined,
    tasks: tasks.filter((task) => takesTask(method, task)).map(({ name }) => name),
    merges: method.unmerged === undefined,
    converts_to_lora: method.convertsToLora === true,
    schema: jobSchema(method),
  };
}

/** Returns the schema of `graft` in the create request, with the names of the registries. */
function graftSchema(): JsonSchema {
  const schema = z.toJSONSchema(GraftOptions, { io: 'input' });
  const fields = schema.properties as Record<string, JsonSchema>;
  fields['task'] = { ...fields['task'], enum: tasks.map(({ name }) => name) };
  fields['quantization'] = {
    ...fields['quantization'],
    description: [
      fields['quantization']?.description,
      ...quantizers.map(({ name, summary }) => `${name}: ${summary}`),
    ].join('. '),
    anyOf: [{ enum: quantizers.map(({ name }) => name) }, { type: 'null' }],
  };
  return schema;
}

/** Returns a method's fields with the defaults for jobs. */
function jobSchema(method: Method): JsonSchema {
  const schema = z.toJSONSchema(method.options, { io: 'input' });
  const fields = schema.properties as Record<string, JsonSchema>;
  for (const [name, value] of Object.entries(method.jobDefaults?.({}) ?? {}))
    fields[name] = { ...fields[name], default: value };
  return schema;
}

/** Returns the adapters of a sweep over methods, as jobs name them. Not every task and model supports each. */
export const triedMethods = (): NonNullable<PeftConfig>[] =>
  methods.flatMap(({ name, tried = [] }) =>
    tried.map((fields) => ({ peft_type: name, ...(fields as object) })),
  );

/** Returns the paths of the config fields of all methods (`peft.r`). */
export const peftFields = (): string[] =>
  methods.flatMap(({ options }) => fieldPaths(options, 'peft.'));
