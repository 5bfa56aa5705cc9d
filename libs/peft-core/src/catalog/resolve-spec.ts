/** Resolves a job's Spec: fills in every default and makes all checks that need no native code. */
import {
  DomainError,
  Hyperparameters,
  hyperparametersOf,
  SAMPLE_TOKENS,
  Spec,
  TRAINING_OPTIONS,
} from '@graft/contracts';
import type { CreateJob, FineTuningMethod, GraftOptions } from '@graft/contracts';
import {
  checkAlone,
  checkPeft,
  checkQuantization,
  checkStart,
  checkTaskType,
  checkWithoutHead,
} from './check-peft.js';
import { heldOutCount } from '../datasets/held-out.js';
import { shown } from '../data/json-scan.js';
import { parsePeft } from '../methods/frame/config.js';
import type { PeftConfig } from '../methods/frame/config.js';
import { DEFAULT_PEFT, methodFor } from '../methods/registry.js';
import { checkIdle, checkTask, checkTaskOptions } from '../methods/frame/task-needs.js';
import { forType } from '../models/registry.js';
import { modelKind } from '../nn/outline/model-paths.js';
import { parseOptions } from '../parse-options.js';
import { checkBase, taskFor, taskOf, tasks } from '../tasks/registry.js';
import type { Task } from '../tasks/task.js';
import { useOf } from '../tasks/heads/model-use.js';
import { autoNumbers } from '../train/auto.js';
import { totalSteps } from '../train/cursor.js';
import { checkOptimizer } from '../train/optimizer/optimizer.js';
import {
  splitSeed,
  stratifiedBy,
  withEvaluations,
  withHeldOut,
} from '../train/validation-defaults.js';

/** Known facts of a job when its Spec is resolved. */
export interface JobFacts {
  /** Number of records in the training file. */
  readonly trainingRecords: number;
  /** Number of held-out records, if already counted. */
  readonly heldOut?: number;
  /** Whether it starts from an adapter. */
  readonly warmStart?: boolean;
  /** Whether another job produced the base. */
  readonly fineTuned?: boolean;
  /** model_type of the base's config.json, if known. */
  readonly modelType?: string;
}

const DEFAULT_SEED = 42;

/** Options that a Spec has only if records are held out. */
const OF_SPLIT: readonly string[] = ['stratify_by_column', 'split_seed'];

/**
 * Returns a Spec with every "auto" and every default resolved.
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
  // An initial adapter may come from PEFT, which accepts options that have no effect.
  if (!facts.warmStart) checkIdle(method, options, task);
  if (task.peft.hasHead === false) checkWithoutHead(peft, task, facts.modelType);
  if (task.head) checkAlone(peft, task, facts.modelType);
  checkQuantization(graft.quantization ?? null, peft);
  checkStart(peft, task, facts.warmStart ?? false);
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

/**
 * Returns a request with its default validation split and evaluation interval, and the length of training on the
 * remaining records.
 */
function paced(request: CreateJob, facts: JobFacts, task: Task) {
  const body = withHeldOut(request, facts);
  const records = trainedRecords(body, facts);
  const graft = body.graft ?? {};
  const sized = sizes(hyperparametersOf(body), graft, records, task);
  const { gradient_accumulation_steps = 1, max_steps = null } = graft;
  const pace = { ...sized, gradient_accumulation_steps, max_steps };
  return { body: withEvaluations(body, pace, records), records, sized };
}

/**
 * Checks the metric for the best model. @throws DomainError for a metric that the task's evaluations do not have, or
 * for which less is not better
 */
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

/** Returns what a job needs to be evaluated during training; null if it has everything. */
function missingForEvaluation({ validation_file: file, graft }: CreateJob): string | null {
  const { validation_split: split, eval_steps: every } = graft ?? {};
  if (!file && !split) return 'a validation_file or graft.validation_split';
  return every ? null : 'graft.eval_steps above 0';
}

/** Rejects early stopping without evaluations, because it would never apply. @throws DomainError */
function checkPatience(body: CreateJob): void {
  const missing = missingForEvaluation(body);
  if (body.graft?.early_stopping_patience == null || missing === null) return;
  const message = `the run is measured by evaluations: give it ${missing}`;
  throw new DomainError('invalid_value', message, 'graft.early_stopping_patience');
}

/**
 * Returns whether to load the best model at the end; the default is true if possible. @throws DomainError if it is
 * requested but impossible
 */
function bestModelOf(
  body: CreateJob,
  peft: PeftConfig,
): Pick<Spec, 'load_best_model_at_end' | 'metric_for_best_model'> {
  const { load_best_model_at_end: asked, metric_for_best_model: metric } = body.graft ?? {};
  if (asked === false) return {};
  const missing = missingForEvaluation(body);
  if (missing === null && peft !== null)
    return { load_best_model_at_end: true, ...(metric && { metric_for_best_model: metric }) };
  if (asked === undefined) return {};
  const message =
    missing === null
      ? 'full fine-tuning keeps only its last model; leave it out'
      : `the best model is chosen by evaluations: give the job ${missing}`;
  throw new DomainError('invalid_value', message, 'graft.load_best_model_at_end');
}

/** Returns the options of the loss ledger. @throws DomainError for an epoch that the run does not reach */
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

/** Returns the options of samples. @throws DomainError for a task whose models do not generate text */
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

/** Returns a config with the number of steps, for methods that depend on it. */
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

/** Returns OpenAI's fine-tuning method of a task; the default one if this build does not know the task. */
export const fineTuningMethod = (task: string): FineTuningMethod =>
  tasks.find(({ name }) => name === task)?.method ?? 'supervised';

/** Returns the task of a job that names neither a task nor a method. */
export const usualTask = (modelType: string | undefined): string => askedTask({}, modelType).name;

/** Returns a task's options: its own among OpenAI's hyperparameters, and `graft.task_options`. */
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
