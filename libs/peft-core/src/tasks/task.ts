import type {
  Confusion,
  FineTuningMethod,
  MetricDescription,
  RecordFormatDescription,
  Spec,
} from '@graft/contracts';
import type { z } from 'zod';
import type { ChatMessage } from '../data/text/chat-template.js';
import type { DrawKey } from '../data/permutation.js';
import type { Processor } from '../data/processor.js';
import type { VocabularyFiles } from '../data/processor-files.js';
import type { JsonObject } from '../data/json-line.js';
import type { TokenSequence } from '../data/text/supervised-text.js';
import type { MediaStore, Origin } from '../data/media-store.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import type { InputKind } from '../nn/front-ends/registry.js';
import type { StackKinds, TaskHeadKind } from '../nn/outline/model-paths.js';
import type { Writing } from './speech/writer.js';

/** Format of a task's records. */
export interface RecordFormat extends Omit<RecordFormatDescription, 'optional_keys'> {
  /**
   * Whether other tables also have columns with these names, so that a single key does not identify the
   * format.
   */
  readonly commonKeys?: true;
  /** `optional_keys` of the description. */
  readonly more?: readonly string[];
  /** Type of a table's cell for each key. The default is text. */
  readonly cells?: Readonly<Record<string, CellKind>>;
}

/**
 * Type of a table cell:
 * - `text`: text as is, even if it looks like JSON.
 * - `label`: a name or a number, or several of them as a JSON list.
 * - `boolean`: true or false, also as 1 or 0.
 * - `integer`: a number, also as text.
 * - `json`: a list or an object, also as JSON text.
 * - `text_or_messages`: text as is, unless it is a JSON list of messages.
 */
export type CellKind = 'text' | 'label' | 'boolean' | 'integer' | 'json' | 'text_or_messages';

/** Chat of a record, to be rendered by the base model's chat template. */
export interface Chat {
  readonly messages: readonly ChatMessage[];
  readonly tools?: unknown;
}

/** Properties of a valid record for the dataset report. */
export interface RecordFacts {
  /** Name of its format. */
  readonly format: string;
  /** Fields that this task never trains on, with any base model. */
  readonly ignored: readonly string[];
  /** Data that training uses, in parts. Records with equal parts are duplicates. */
  readonly identity: readonly string[];
  /** Chats that the base model's chat template renders. Empty for plain text. */
  readonly chats: readonly Chat[];
  /** Label of the record, in tasks whose records have one each. Omitted if it has several. */
  readonly label?: string;
}

/** Training example. Tasks add fields. */
export interface Example {
  /** Number of rows in a forward pass. Limits the size of a micro-batch. */
  readonly rows: number;
  /** Number of tokens after truncation. */
  readonly tokenCount: number;
  /** Number of images or seconds of audio, in tasks whose `inputs` are images or audio. */
  readonly media?: number;
  /** Line number in its file. Set on validation examples of tasks that report a confusion matrix. */
  readonly line?: number;
}

/** Example with its counts before and after truncation. */
export interface Encoded<E extends Example = Example> {
  readonly example: E;
  /** Number of tokens of its longest sequence before truncation. */
  readonly longest: number;
  /** Number of supervised tokens. */
  readonly supervised: number;
  /** Whether truncation removed all targets. */
  readonly lost: boolean;
  /** Reason why the example cannot be used, found by decoding its media. Null or omitted if there is none. */
  readonly problem?: string | null;
  /** Sizes of its images, if only their headers were read. */
  readonly pixels?: readonly { readonly width: number; readonly height: number }[];
}

export interface EncodeOptions {
  /** Maximum sequence length in tokens. Longer sequences are truncated at their end. */
  readonly maxSeqLen: number;
  /**
   * Store of processed media; null: memory. Omitted if media are only checked and no training step uses
   * them.
   */
  readonly store?: MediaStore | null;
  /** Position of each record in its file, for records of a file. */
  readonly origins?: readonly Origin[];
}

export interface InputOptions<O = unknown> extends EncodeOptions {
  /** Upper bound of token ids, exclusive. */
  readonly vocabSize: number;
  /** Task options that the adapter was trained with. */
  readonly taskOptions: O;
}

/** Examples of one run in a forward pass. */
export interface Share<E, O = unknown> {
  readonly run: number;
  readonly examples: readonly E[];
  /** Task options of the run. */
  readonly options: O;
}

/** Results of a run's examples, as sums, so that micro-batches add up. */
export interface Sums {
  /** Divisor of the means: number of supervised tokens, pairs, … */
  readonly units: number;
  readonly totals: Readonly<Record<string, number>>;
  /** Loss of each example, in order. Set by tasks whose examples affect each other's loss. */
  readonly each?: readonly number[];
}

/** Metric of training steps and evaluations. */
export interface Metric extends MetricDescription {
  /** Returns the value, or null if these examples do not have one. */
  of(sums: Sums): number | null;
}

/** Names of a task in the Hugging Face libraries and on the Hub. */
export interface PeftTask {
  /**
   * `task_type` in adapter_config.json. Null if PEFT has none; PEFT then finds the model class by
   * `auto_mapping`.
   */
  readonly taskType: string | null;
  /** Suffix of AutoModelFor and, if there is a `task_type`, of AutoPeftModelFor. */
  readonly models: string;
  /** `pipeline_tag` of a model card. */
  readonly pipeline: string;
  /**
   * `false` if Transformers loads the model with AutoModel, whose module names lack the prefix of models
   * with a head.
   */
  readonly hasHead?: boolean;
}

/** Returns the Transformers class that loads a task's models. */
export const autoModel = ({ models, hasHead = true }: PeftTask): string =>
  hasHead ? `AutoModelFor${models}` : 'AutoModel';

/**
 * Returns the PEFT class that loads an adapter with its base model. Without a `task_type`, PEFT uses
 * `auto_mapping`.
 */
export const autoPeftModel = ({ taskType, models }: PeftTask): string =>
  taskType === null ? 'AutoPeftModel' : `AutoPeftModelFor${models}`;

/** Loss of random guessing. */
export interface Chance {
  /** Infinity if unknown. */
  readonly loss: number;
  /** Target of the guess, phrased to follow "guessing". */
  readonly of: string;
  /** Whether training starts at this loss, so that it does not indicate a problem. */
  readonly isStart: boolean;
}

/** Task head that each run trains for itself. `O`: the complete task options. */
export interface OwnHead<O = unknown> {
  readonly kind: TaskHeadKind;
  /** Number of outputs. Null if these options train the base model's own head. */
  outputs(options: O): number | null;
  /** Returns its fields in config.json, with Transformers' names: names of labels. */
  config(options: O): JsonObject;
}

/** CTC vocabulary of a task's own head, for tasks that may derive it from the data. */
export interface OwnVocabulary<O> {
  /** Returns the options for a base model that has a CTC vocabulary or not. */
  on(options: O, base: { readonly ctc: object | null }): O;
  /**
   * Returns the options of a job that starts from an adapter.
   * @param initial the adapter's vocabulary; null if it uses that of its base model
   * @throws DomainError naming the field that requires another vocabulary
   */
  continued(options: O, initial: readonly string[] | null): O;
  /**
   * Returns the options of a finished job, with its adapter's vocabulary if they do not contain one.
   * @param stored the adapter's vocabulary
   */
  trained(options: O, stored: () => readonly string[] | null): O;
  /** Returns the files that the tokenizer is read from. Null if it is the base model's tokenizer. */
  files(options: O): VocabularyFiles | null;
}

/** Scan of a file's records before training. */
export interface Survey<O> {
  /**
   * Returns why a record that passed `check` does not match the options or earlier records, or null.
   * @param isTrained whether the record is used for training, not validation; the default is true
   */
  see(record: JsonObject, isTrained?: boolean): string | null;
  /** Whether the options are complete, so that no record needs to be read. */
  readonly isIdle?: boolean;
  /** Returns the completed options. @throws DomainError if the records do not determine them */
  options(): O;
}

/** Task-specific warnings about the records of a file. */
export interface Notes {
  see(record: JsonObject): void;
  /** Returns the warnings, one sentence each. @param name name of the data, for the text */
  warnings(name: string, isTrained: boolean): string[];
}

/** Inference with a finished adapter, for tasks that do not chat. */
export interface Inference<E extends Example = Example, O = unknown> {
  readonly kind: 'classify' | 'embed' | 'transcribe';
  /**
   * Returns one input of a request (a text, a pair of texts, token ids, …) as a record without a target.
   * @throws DomainError that describes the problem; the caller adds the index of the input
   */
  record(input: unknown): JsonObject;
  /**
   * Returns examples without targets, in the given order.
   * @throws DomainError for token ids that are not in the model's vocabulary
   */
  encode(
    records: readonly JsonObject[],
    processor: Processor,
    options: InputOptions<O>,
  ): Encoded<E>[];
  /**
   * Returns a JSON value for each example, share by share. Called without gradients. For `embed`: the
   * components of a vector. For `classify`: an object with fields of the response, such as vLLM's `label`,
   * `probs` and `num_classes`, or `tokens` with their tags, or `spans` of a text. For `transcribe`: the
   * transcript as `text`.
   */
  answer(model: Model, shares: readonly Share<E, O>[], ctx: BatchContext): unknown[];
  /**
   * Returns an example of samples at the base model's sample rate, for tasks that transcribe. The samples
   * have no file.
   * @throws DomainError if the samples are too short for one row
   */
  window?(samples: Float32Array, processor: Processor, options: InputOptions<O>): Encoded<E>;
  /** Token-by-token decoding, for models that generate the transcript. */
  readonly writing?: Writing<E, O>;
}

/**
 * Features that some methods require of a task:
 * - `learns_prompts`: its loss also trains the tokens of their prompts, with weights.
 * - `task_ids`: its records may select the prompt.
 * - `learns_beside`: it has an auxiliary loss, for the same targets from other rows.
 */
export type TaskFeature = 'learns_prompts' | 'task_ids' | 'learns_beside';

/** Training task: everything from a record to a loss and its metrics. */
export interface Task<E extends Example = Example, P = unknown, O = unknown> {
  /** PEFT's name in lower case, if it has one. */
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  readonly peft: PeftTask;
  /** Input kind of the base model. The default is tokens. */
  readonly inputs?: InputKind;
  /** Stacks that the base model may have. The default is a decoder only. */
  readonly stacks?: readonly StackKinds[];
  /**
   * Whether the examples of a batch (`batch_size`) affect each other's loss. If so, `loss` receives the whole
   * batch, regardless of its length, and limits the size of its forward passes.
   */
  readonly wholeBatches?: boolean;
  /**
   * Minimum number of examples in a batch (`batch_size`), if they affect each other's loss. The default is
   * 1.
   */
  readonly leastBatch?: number;
  /** OpenAI fine-tuning method of the task's jobs. */
  readonly method: FineTuningMethod;
  /** Factor on the default learning rate of a method. The default is 1. */
  readonly learningRateScale?: number;
  /** Features for methods that require them. */
  readonly gives?: readonly TaskFeature[];
  /** Omitted if training uses the base model's own head or none. */
  readonly head?: OwnHead<O>;
  /** Schema of the task options, `graft.task_options` of a job. */
  readonly options: z.ZodType<O>;
  readonly records: readonly RecordFormat[];
  /** Whether each record has one label, which `facts` returns. Allows a stratified validation split. */
  readonly labelled?: true;
  /** Returns why a record cannot be used for training, or null. */
  check(record: JsonObject): string | null;
  /** Returns the properties of a record that passed `check`. */
  facts(record: JsonObject): RecordFacts;
  /** Omitted if only the base model has a vocabulary. */
  readonly vocabulary?: OwnVocabulary<O>;
  /** Returns a scan of the training file that completes the options. Omitted if they are always complete. */
  survey?(options: O): Survey<O>;
  notes?(options: O, processor: Processor): Notes;
  /** Returns a warning about the label counts of a training file, or null. */
  balance?(labels: ReadonlyMap<string, number>, options: O): string | null;
  /** Renders a record with the base model's template. @throws DomainError as the template does */
  prepare(record: JsonObject, processor: Processor, options: O): P;
  /** Returns token ids and targets, in the given order. */
  encode(prepared: readonly P[], processor: Processor, options: EncodeOptions): Encoded<E>[];
  /**
   * Returns an augmented example for one epoch, for tasks with augmentation. The result depends on the
   * arguments only, so that a resumed run gets the same one.
   */
  varied?(example: E, key: DrawKey, options: O): E;
  /** Returns the sequences of an example, for tasks whose models continue them. */
  sequences?(example: E): readonly TokenSequence[];
  /**
   * Returns the number of units of an example in the mean loss of a step.
   * @param virtualTokens number of virtual tokens that are trained with it; null if its run has none
   */
  units(example: E, virtualTokens: number | null): number;
  /**
   * Returns the rows of an example that hold a supervised token, counted from its first row. Omitted if the
   * rows of a forward pass are not those of the examples in order.
   */
  supervisedRows?(example: E): ArrayLike<number>;
  /**
   * Runs the forward pass and returns sums by run. With `scales`, the weight of one unit of each run, also
   * runs the backward pass into the parameters.
   */
  loss(
    model: Model,
    shares: readonly Share<E, O>[],
    ctx: BatchContext,
    scales: ReadonlyMap<number, number> | null,
  ): Map<number, Sums>;
  /**
   * Measures an example in an evaluation in addition to its loss, if that takes many forward passes: one
   * between two yields, without gradients. Returns totals that are added to those of the loss.
   */
  measuring?(model: Model, run: number, example: E): Generator<void, Sums['totals'], undefined>;
  /** Omitted if the models generate text, because they are used by chatting. */
  readonly infer?: Inference<E, O>;
  /** Returns the confusion matrix of an evaluation. Null if its inputs do not have one label each. */
  confusion?(sums: Sums, options: O): Confusion | null;
  /** Returns the loss of random guessing, which a run is monitored against. */
  chance(model: Pick<Model, 'vocabSize'>, spec: Pick<Spec, 'batch_size' | 'task_options'>): Chance;
  /** Metrics; the first is the loss. */
  readonly metrics: readonly Metric[];
}

/** Infers a task's type parameters. */
export function defineTask<E extends Example, P, O>(task: Task<E, P, O>): Task<E, P, O> {
  return task;
}

export const NO_SUMS: Sums = { units: 0, totals: {} };

export function addSums(a: Sums, b: Sums): Sums {
  return { units: a.units + b.units, totals: addTotals({ ...a.totals }, b.totals) };
}

/** Adds totals to the first ones in place. @returns the first */
export function addTotals(
  to: Record<string, number>,
  more: Readonly<Record<string, number>>,
): Record<string, number> {
  for (const [name, value] of Object.entries(more)) to[name] = (to[name] ?? 0) + value;
  return to;
}

/** Returns the mean of a total over the units. */
export const mean =
  (name: string) =>
  ({ units, totals }: Sums): number =>
    (totals[name] ?? 0) / Math.max(1, units);
