/**
 * What this build can train, and the checks of a job before anything native runs. Derived from the registries;
 * importing it loads neither libtorch nor the tokenizer.
 */
import {
  DomainError,
  fieldPaths,
  GraftOptions,
  Hyperparameters,
  hyperparametersOf,
  SAMPLE_TOKENS,
  Spec,
  TRAINING_OPTIONS,
} from '@graft/contracts';
import type {
  Catalog,
  CatalogMethod,
  CatalogTask,
  CreateJob,
  FineTuningMethod,
  JsonSchema,
  MetricDescription,
} from '@graft/contracts';
import { z } from 'zod';
import { heldOutCount } from './datasets/held-out.js';
import { shown } from './data/json-scan.js';
import type { JsonObject } from './data/json-line.js';
import { parsePeft, withJobDefaults } from './methods/frame/config.js';
import type { PeftConfig } from './methods/frame/config.js';
import type { Method } from './methods/method.js';
import { checkPatternSizes } from './methods/targets/pattern.js';
import { DEFAULT_PEFT, methodFor, methods } from './methods/registry.js';
import { checkIdle, checkTask, checkTaskOptions, takesTask } from './methods/frame/task-needs.js';
import { forType, models } from './models/registry.js';
import { fitsBoth } from './methods/targets/pattern-prefix.js';
import {
  headPrefix,
  lackingAlone,
  linearNames,
  modelKind,
  type StackPaths,
} from './nn/outline/model-paths.js';
import { quantizerFor, quantizers } from './quant/registry.js';
import {
  mappedFormat,
  shapeOf as shapeAmong,
  type Columns,
  type Shape,
} from './datasets/shapes.js';
import { checkBase, inputsOf, stacksOf, taskFor, taskOf, tasks } from './tasks/registry.js';
import { parseOptions } from './parse-options.js';
import { likest } from './datasets/task-fit.js';
import { useOf } from './tasks/heads/model-use.js';
import { autoModel, autoPeftModel, type RecordFormat, type Task } from './tasks/task.js';
import { autoNumbers } from './train/auto.js';
import { totalSteps } from './train/cursor.js';
import { checkOptimizer } from './train/optimizer/optimizer.js';
import { runMetrics } from './train/run-metrics.js';
import {
  splitSeed,
  stratifiedBy,
  withEvaluations,
  withHeldOut,
} from './train/validation-defaults.js';

export { heldOut, heldOutCount, splitOf } from './datasets/held-out.js';
export type { Split } from './datasets/held-out.js';
export { LineRanges } from './data/line-ranges.js';
export { readJsonObject, readLine } from './data/json-line.js';
export type { JsonObject } from './data/json-line.js';
export type { Columns, Shape } from './datasets/shapes.js';
export {
  buildWords,
  ENDS_EARLY,
  lackedWords,
  missingInWords,
  neededWords,
  withoutUnknown,
  wordsSaid,
} from './build-words.js';
export { schemaGrammar } from './generate/constrained/schema-grammar.js';
export type { AnswerTools } from './generate/answer-tools.js';
export { SchemaBudget } from './generate/constrained/schema-limits.js';
export { argumentsGrammar, type AnswerForm } from './generate/constrained/answer-form.js';
export { OLDEST_WORDS } from './oldest-words.js';
export { adapterConfig } from './io/adapter/adapter-config.js';
export { inspectAdapter } from './io/adapter/inspect-adapter.js';
export type { AdapterInspection } from './io/adapter/inspect-adapter.js';
export { inspectModelFolder } from './io/base/inspect.js';
export type { ModelInspection } from './io/base/inspect.js';
export { taskFor } from './tasks/registry.js';
export { TaskFit } from './datasets/task-fit.js';
export {
  defaultOptions,
  inputRecords,
  inputsOfTask,
  tasksOfBase,
  tasksUsedTo,
  usesOfBase,
  usesOfTask,
  vectorSize,
} from './tasks/heads/model-use.js';
export type { PeftConfig } from './methods/frame/config.js';
export type { HfConfig } from './nn/hf-files.js';
export { checkTrained, trainedBy } from './train/optimizer/optimizer.js';
import { refusePacked } from './methods/frame/base-footprint.js';
export { continued, isToldByFile, namedAdapters } from './methods/frame/config.js';
export { checkOperation, loraRank, operationsOf } from './adapters/supported.js';
export type { Operand } from './adapters/supported.js';
export {
  cutAt,
  footprintOf,
  heldAs,
  residentBytes,
  windowOf,
} from './methods/frame/base-footprint.js';
export {
  checkWrites,
  continuedOptions,
  headOf,
  inOrderOf,
  learntOn,
  trainedOptions,
} from './tasks/heads/head-request.js';
export { lettersIn } from './data/audio/made-vocabulary.js';
export { totalSteps };
export { hasOneLabel, holdsOutByDefault, withoutHeldOut } from './train/validation-defaults.js';
export {
  answerSizes,
  reservedForBase,
  runBytes,
  sizesOfReports,
  tooLarge,
} from './train/run-bytes.js';
export type { AnswerSizes, RunBytes, RunSizes } from './train/run-bytes.js';
export type { BaseFootprint } from './methods/frame/base-footprint.js';

/** GET /v1/catalog. */
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

/** Numbers that jobs of a task report; those of the run alone where the task is unknown. */
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
    tasks: tasks.filter((task) => takesTask(method, task)).map(({ name }) => name),
    schema: jobSchema(method),
  };
}

/** The create body's `graft`, with the names that the registries have. */
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

/** Adapters of a sweep over methods, as jobs name them; not every task and model takes each. */
export const triedMethods = (): NonNullable<PeftConfig>[] =>
  methods.flatMap(({ name, tried = [] }) =>
    tried.map((fields) => ({ peft_type: name, ...(fields as object) })),
  );

/** The method's fields, with the defaults that a job gets. */
function jobSchema(method: Method): JsonSchema {
  const schema = z.toJSONSchema(method.options, { io: 'input' });
  const fields = schema.properties as Record<string, JsonSchema>;
  for (const [name, value] of Object.entries(method.jobDefaults?.({}) ?? {}))
    fields[name] = { ...fields[name], default: value };
  return schema;
}

/** OpenAI's method of fine-tuning that a job of this task is; of a task that this build lacks, the usual one. */
export const fineTuningMethod = (task: string): FineTuningMethod =>
  tasks.find(({ name }) => name === task)?.method ?? 'supervised';

/** Formats of records, each once. */
const formats: readonly RecordFormat[] = [
  ...new Map(
    tasks.flatMap(({ records }) => records.map((format) => [format.name, format])),
  ).values(),
];

/** Whether an object with these keys shows that it is meant as a record, and not as a row of some other table. */
export const meantAsRecord = (given: readonly string[]): boolean =>
  formats.some(
    ({ keys, commonKeys }) =>
      keys.filter((key) => given.includes(key)).length >= (commonKeys ? 2 : 1),
  );

/** What people call one and several records of a format. */
export const formatNouns = (name: string): readonly [one: string, many: string] =>
  formats.find((format) => format.name === name)?.nouns ?? [name, name];

/** How rows with these keys are read; null where nobody can tell which of them is what. */
export const shapeOf = (keys: readonly string[], columns: Columns = {}): Shape | null =>
  shapeAmong(keys, columns, formats);

/** @throws DomainError where a table's columns are named for fields that make no record together */
export function checkColumns(columns: Columns): void {
  if (Object.keys(columns).length > 0) mappedFormat(columns, formats);
}

/**
 * Why a record cannot be learnt from, or null.
 * @param meant the task of its file; left out, any may learn from it
 */
export function recordProblem(record: JsonObject, meant?: string): string | null {
  const task = tasks.find(({ name }) => name === meant);
  if (task) return task.check(record);
  return tasks.some((one) => one.check(record) === null) ? null : likest(record).check(record);
}

/** Paths of all fields that any method's config has (`peft.r`). */
export const peftFields = (): string[] =>
  methods.flatMap(({ options }) => fieldPaths(options, 'peft.'));

export { invocationOf, promptTasks } from './methods/frame/config.js';
export { DEFAULT_PEFT } from './methods/registry.js';

/** Whether a base of this model_type is written as GGUF; if not, what is. */
export { ggufModelTypes } from './models/registry.js';

/**
 * A job's PEFT config with its defaults filled in; with a config.json's `modelType`, also checked against the family.
 * @throws DomainError with param `peft.<field>`, or invalid_model for an unknown `modelType`
 */
export function checkPeft(peft: PeftConfig, modelType?: string): PeftConfig {
  const { method, options } = parsePeft(withJobDefaults(peft));
  checkPatternSizes(options as object | null);
  if (modelType !== undefined) {
    const { paths } = forType(modelType);
    const { tokenEmbedding: table = null } = paths;
    const embedding = table && table.slice(table.lastIndexOf('.') + 1);
    method.check?.(options, linearNames(paths), embedding);
  }
  return peft === null ? null : { ...(options as object), peft_type: method.name };
}

/** What is known of a job when its Spec is resolved. */
export interface JobFacts {
  /** Of the training file. */
  readonly trainingRecords: number;
  /** How many of them are held out for validation, once somebody has looked. */
  readonly heldOut?: number;
  /** Whether it begins from an adapter. */
  readonly begun?: boolean;
  /** Whether another job made the base. */
  readonly fineTuned?: boolean;
  /** model_type of the base's config.json, when it is known. */
  readonly modelType?: string;
}

const DEFAULT_SEED = 42;

/** Options that a Spec has only where something is held out. */
const OF_SPLIT: readonly string[] = ['stratify_by_column', 'split_seed'];

/**
 * A Spec with every "auto" and every default resolved.
 * @throws DomainError naming the field that is wrong
 */
export function resolveSpec(request: CreateJob, facts: JobFacts): Spec {
  const peft = checkPeft(request.peft === undefined ? DEFAULT_PEFT : request.peft, facts.modelType);
  const task = askedTask(request, facts.modelType);
  const { body, sized, records } = paced(request, facts, task);
  const graft = body.graft ?? {};
  checkPatience(body);
  checkTaskType(body.peft, task);
  checkBestBy(body, task);
  checkTask(methodFor(peft), task, tasks);
  const { method, options } = parsePeft(peft);
  checkTaskOptions(method, options, task);
  // What it begins from may be a file of PEFT's, which refuses none of it.
  if (!facts.begun) checkIdle(method, options, task);
  if (task.peft.hasHead === false) checkWithoutHead(peft, task, facts.modelType);
  if (task.head) checkAlone(peft, task, facts.modelType);
  checkQuantization(graft.quantization ?? null, peft);
  checkStart(peft, task, facts.begun ?? false);
  const asked = TRAINING_OPTIONS.flatMap((name) =>
    graft[name] === undefined || OF_SPLIT.includes(name) ? [] : [[name, graft[name]] as const],
  );
  checkOptimizer({
    peft,
    optimizer: graft.optimizer ?? 'adamw',
    loraplus_lr_ratio: graft.loraplus_lr_ratio ?? null,
  });
  const { learning_rate_multiplier: multiplier } = hyperparametersOf(body);
  const spec = Spec.parse({
    learning_rate: defaultRate(peft, task) * given(multiplier, 1),
    ...Object.fromEntries(asked),
    ...stratifiedBy(body, task),
    ...splitSeed(body),
    model: body.model,
    task: task.name,
    task_options: taskOptions(task, body),
    peft,
    seed: body.seed ?? DEFAULT_SEED,
    ...sized,
    ...bestModelOf(body, peft),
    ...(graft.measure_forgetting ? { measure_forgetting: true } : {}),
    ...samplesOf(graft, task),
    ...ledgerOf(graft, sized.n_epochs),
  });
  return { ...spec, peft: forSteps(spec.peft, totalSteps(spec, records)) };
}

/** A request with what is held out and when it is evaluated by default, and how long its job trains on the rest. */
function paced(request: CreateJob, facts: JobFacts, task: Task) {
  const body = withHeldOut(request, facts);
  const records = trainedRecords(body, facts);
  const graft = body.graft ?? {};
  const sized = sizes(hyperparametersOf(body), graft, records, task);
  const { gradient_accumulation_steps = 1, max_steps = null } = graft;
  const pace = { ...sized, gradient_accumulation_steps, max_steps };
  return { body: withEvaluations(body, pace, records), records, sized };
}

/** @throws DomainError for a metric that no evaluation of the task has, or of which less is not better */
function checkBestBy({ validation_file: file, graft }: CreateJob, task: Task): void {
  const asked = graft?.metric_for_best_model;
  const names = task.metrics.filter((one) => one.less_is_better).map(({ name }) => name);
  const known = ['loss', ...names];
  if (asked === undefined || (known.includes(asked) && (file || graft?.validation_split))) return;
  const message = known.includes(asked)
    ? 'evaluations measure it: give the job a validation_file or graft.validation_split'
    : `expected ${known.join(' or ')} for task ${task.name}, got ${shown(asked)}`;
  throw new DomainError('invalid_value', message, 'graft.metric_for_best_model');
}

/** What a job lacks to be evaluated as it trains; null: nothing. */
function lackedToEvaluate({ validation_file: file, graft }: CreateJob): string | null {
  const { validation_split: split, eval_steps: every } = graft ?? {};
  if (!file && !split) return 'a validation_file or graft.validation_split';
  return every ? null : 'graft.eval_steps above 0';
}

/** What never happens is no promise. */
function checkPatience(body: CreateJob): void {
  const missing = lackedToEvaluate(body);
  if (body.graft?.early_stopping_patience == null || missing === null) return;
  const message = `the run is measured by evaluations: give it ${missing}`;
  throw new DomainError('invalid_value', message, 'graft.early_stopping_patience');
}

/** On wherever it can be. @throws DomainError where it is asked for and cannot be */
function bestModelOf(
  body: CreateJob,
  peft: PeftConfig,
): Pick<Spec, 'load_best_model_at_end' | 'metric_for_best_model'> {
  const { load_best_model_at_end: asked, metric_for_best_model: metric } = body.graft ?? {};
  if (asked === false) return {};
  const missing = lackedToEvaluate(body);
  if (missing === null && peft !== null)
    return { load_best_model_at_end: true, ...(metric && { metric_for_best_model: metric }) };
  if (asked === undefined) return {};
  const message =
    missing === null
      ? 'full fine-tuning keeps only its last model; leave it out'
      : `evaluations tell which model is the best: give the job ${missing}`;
  throw new DomainError('invalid_value', message, 'graft.load_best_model_at_end');
}

/** @throws DomainError for an epoch that the run does not come to */
function ledgerOf(
  { loss_ledger: asked, loss_ledger_epochs: epochs }: GraftOptions,
  most: number,
): Pick<Spec, 'loss_ledger' | 'loss_ledger_epochs'> {
  if (epochs === undefined) return asked ? { loss_ledger: true } : {};
  const refuse = (message: string) =>
    new DomainError('invalid_value', message, 'graft.loss_ledger_epochs');
  if (asked === false) throw refuse('graft.loss_ledger is false: leave one of them out');
  const beyond = epochs.find((epoch) => epoch > most);
  if (beyond !== undefined)
    throw refuse(`expected epochs of the job, which has ${most}, got ${beyond}`);
  const sorted = [...new Set(epochs)].sort((a, b) => a - b);
  return { loss_ledger: true, loss_ledger_epochs: sorted };
}

/** @throws DomainError for a task whose models write nothing */
function samplesOf(
  { sample_prompts: prompts, sample_max_tokens: most = SAMPLE_TOKENS }: GraftOptions,
  task: Task,
): Pick<Spec, 'sample_prompts' | 'sample_max_tokens'> {
  if (!prompts) return {};
  if (useOf(task) === 'chat') return { sample_prompts: prompts, sample_max_tokens: most };
  const message = `models of task ${task.name} write no answers; leave it out`;
  throw new DomainError('invalid_value', message, 'graft.sample_prompts');
}

function trainedRecords(
  { validation_file: file, graft }: CreateJob,
  { trainingRecords: all, heldOut }: JobFacts,
): number {
  const share = graft?.validation_split ?? null;
  if (share === null) return all;
  if (!file) return all - (heldOut ?? heldOutCount(all, share));
  const message = 'the job has a validation_file, too; leave one of the two out';
  throw new DomainError('invalid_value', message, 'graft.validation_split');
}

/** A config whose method goes by the number of steps. */
function forSteps(peft: PeftConfig, steps: number): PeftConfig {
  if (peft === null) return null;
  const { method, options } = parsePeft(peft);
  if (!method.forSteps) return peft;
  return { ...(method.forSteps(options, steps) as object), peft_type: method.name };
}

const defaultRate = (peft: PeftConfig, { learningRateScale = 1 }: Task): number =>
  Number((methodFor(peft).defaultLearningRate * learningRateScale).toPrecision(6));

const given = <T>(value: T | 'auto' | undefined, otherwise: T): T =>
  value === undefined || value === 'auto' ? otherwise : value;

function askedTask(
  { graft, method }: Pick<CreateJob, 'graft' | 'method'>,
  modelType: string | undefined,
): Task {
  const base = modelType === undefined ? undefined : modelKind(forType(modelType).paths);
  const task =
    graft?.task === undefined ? taskOf(method?.type ?? 'supervised', base) : taskFor(graft.task);
  if (base) checkBase(task, base, modelType as string);
  if (!method || method.type === task.method) return task;
  const message = `task ${task.name} is trained by method ${task.method}, and method.type is ${method.type}`;
  throw new DomainError('invalid_value', message, 'method.type');
}

/** What a job trains that names neither task nor method. */
export const usualTask = (modelType: string | undefined): string => askedTask({}, modelType).name;

/** Of OpenAI's hyperparameters those that are the task's own, and `graft.task_options`. */
function taskOptions(task: Task, body: CreateJob): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(hyperparametersOf(body)))
    if (!Object.hasOwn(Hyperparameters.shape, name) && value !== 'auto') options[name] = value;
  for (const [name, value] of Object.entries(body.graft?.task_options ?? {})) {
    if (options[name] !== undefined && options[name] !== value) {
      const message = `${name} is ${JSON.stringify(options[name])} in method.${body.method?.type}.hyperparameters, too; leave one of them out`;
      throw new DomainError('invalid_value', message, `graft.task_options.${name.slice(0, 100)}`);
    }
    options[name] = value;
  }
  const place = { owner: `task ${task.name}`, path: 'graft.task_options' };
  return parseOptions(task.options, options, place) as Record<string, unknown>;
}

/** A config that was copied from an adapter names the task that it was trained for. */
function checkTaskType(peft: CreateJob['peft'], { name, peft: { taskType } }: Task): void {
  const type = peft?.['task_type'] ?? null;
  if (type === null || type === taskType) return;
  const message = `task_type is ${JSON.stringify(type)}, and task ${name} is ${taskType}; leave it out`;
  throw new DomainError('invalid_value', message, 'peft.task_type');
}

/** What PEFT does not find on a model without a head. */
function checkWithoutHead(peft: PeftConfig, { name }: Task, modelType: string | undefined): void {
  if (peft === null || modelType === undefined) return;
  const { paths } = forType(modelType);
  const head = paths.lmHead;
  for (const field of ['target_modules', 'modules_to_save']) {
    const named = peft[field];
    if (head === undefined || !Array.isArray(named)) continue;
    if (!named.some((one) => one === head || head.endsWith(`.${String(one)}`))) continue;
    const message = `${field} names ${head}, and task ${name} trains the model without its head; leave it out`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  }
  const prefix = headPrefix(paths);
  checkPatterns(peft, prefix, `task ${name}, whose adapters are of a model without its head`);
  const { layers_to_transform: layers = null, layers_pattern: pattern = null } = peft;
  const { norm } = (paths.encoder ?? (paths.decoder as StackPaths)).attention;
  const [list, number] = norm.slice(prefix.length).split('.');
  if (layers === null || pattern !== null || number !== '{n}') return;
  const message = `PEFT finds the layers of a model without a head (${list}.0) by layers_pattern alone: add "layers_pattern": "${list}"`;
  throw new DomainError('invalid_value', message, 'peft.layers_to_transform');
}

/** What PEFT does not find on an encoder alone. */
function checkAlone(peft: PeftConfig, { name }: Task, modelType: string | undefined): void {
  const lacking = modelType === undefined ? null : lackingAlone(forType(modelType).paths);
  if (!lacking) return;
  checkPatterns(peft, lacking.prefix, `task ${name} on ${modelType}, whose adapters are of the encoder alone`); // prettier-ignore
}

/** @throws DomainError for a pattern that cannot be told for paths that lack the prefix */
function checkPatterns(peft: PeftConfig, prefix: string, whose: string): void {
  for (const field of ['target_modules', 'exclude_modules']) {
    const pattern = peft?.[field];
    if (typeof pattern !== 'string' || fitsBoth(prefix, pattern)) continue;
    const message = `a pattern of ${whose}, begins with ${prefix} or with .*, and has no choices but in parentheses`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  }
}

function sizes(
  { batch_size, n_epochs }: Hyperparameters,
  graft: GraftOptions,
  records: number,
  { name, leastBatch = 1 }: Task,
): Pick<Spec, 'batch_size' | 'n_epochs'> {
  if (typeof batch_size === 'number' && batch_size < leastBatch) {
    const message = `task ${name} learns from the other examples of a batch: batch_size must be at least ${leastBatch}, got ${batch_size}`;
    throw new DomainError('invalid_value', message, 'hyperparameters.batch_size');
  }
  const { batchSize, epochs } = autoNumbers({
    records,
    leastBatch,
    accumulation: graft.gradient_accumulation_steps ?? 1,
    maxSteps: graft.max_steps ?? null,
    ...(typeof batch_size === 'number' ? { batchSize: batch_size } : {}),
    ...(typeof n_epochs === 'number' ? { epochs: n_epochs } : {}),
  });
  return { batch_size: batchSize, n_epochs: epochs };
}

/** @throws DomainError for a start that looks at rows that are learnt, where nobody can tell which are */
function checkStart(peft: PeftConfig, { name, learntRows }: Task, begun: boolean): void {
  const { method, options } = parsePeft(peft);
  const { learntOnly, shown } = method.needs?.(options) ?? {};
  if (begun || learntOnly === undefined || learntRows) return;
  const message = `${shown}: which rows are learnt is nothing to task ${name}; set ${learntOnly} to false`;
  throw new DomainError('invalid_value', message, `peft.${learntOnly}`);
}

function checkQuantization(name: string | null, peft: PeftConfig): void {
  if (name === null) return;
  quantizerFor(name);
  refusePacked(peft, 'leave graft.quantization out');
  if (peft !== null) return;
  const message =
    'a quantised base cannot be trained whole; choose a method in `peft` or leave quantization out';
  throw new DomainError('invalid_value', message, 'graft.quantization');
}
