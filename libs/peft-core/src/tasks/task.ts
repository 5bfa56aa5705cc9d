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

/** A form in which a task's records come. */
export interface RecordFormat extends Omit<RecordFormatDescription, 'optional_keys'> {
  /** Other tables have columns of these names, too: one key alone shows nothing. */
  readonly commonKeys?: true;
  /** `optional_keys`. */
  readonly more?: readonly string[];
  /** How a table's cell is read as the value of a key; left out: as text. */
  readonly cells?: Readonly<Record<string, CellKind>>;
}

/**
 * What the cell of a table holds:
 * - `text`: text as it is, JSON or not.
 * - `label`: a name or a number, or several of them as a list in JSON.
 * - `boolean`: true or false, also as 1 or 0.
 * - `integer`: a number, also as text.
 * - `json`: a list or an object, also as JSON text.
 * - `text_or_messages`: text as it is, but for a list of messages in JSON.
 */
export type CellKind = 'text' | 'label' | 'boolean' | 'integer' | 'json' | 'text_or_messages';

/** A chat that a base's template renders of a record. */
export interface Chat {
  readonly messages: readonly ChatMessage[];
  readonly tools?: unknown;
}

/** What is worth counting of a record that passed its task's check. */
export interface RecordFacts {
  /** Name of its format. */
  readonly format: string;
  /** fields of it that no training of this task reads, whatever the base */
  readonly ignored: readonly string[];
  /** what training gets of it, in pieces: two records with the same ones are the same to it */
  readonly identity: readonly string[];
  /** what the base's chat template is asked to render; none for plain texts */
  readonly chats: readonly Chat[];
  /** which label it has, of tasks whose records have one each; left out where it has several */
  readonly label?: string;
}

/** What a step trains on; tasks add what they need to it. */
export interface Example {
  /** Rows that a forward gets for it: what bounds a micro-batch. */
  readonly rows: number;
  /** Tokens of the data in it, as cut. */
  readonly tokenCount: number;
  /** Pictures in it, or seconds of sound, of tasks whose `inputs` are such. */
  readonly media?: number;
  /** Of its file; of validation data, where their task tells which of them it takes for what. */
  readonly line?: number;
}

/** An example, and what is worth knowing of how it was cut. */
export interface Encoded<E extends Example = Example> {
  readonly example: E;
  /** Tokens of its longest sequence before cutting. */
  readonly longest: number;
  /** Tokens that are learnt. */
  readonly supervised: number;
  /** Whether cutting has left nothing to learn. */
  readonly lost: boolean;
  /** Why it cannot be learnt from, where only decoding shows it; left out or null: it can. */
  readonly problem?: string | null;
  /** Of its pictures, where they were looked at. */
  readonly pixels?: readonly { readonly width: number; readonly height: number }[];
}

export interface EncodeOptions {
  /** Longer sequences are cut at their end, in tokens. */
  readonly maxSeqLen: number;
  /** Where what is made of media is kept; null: in memory. Left out: they are looked at, and no step is made of them. */
  readonly store?: MediaStore | null;
  /** Where each stands in its file, of what is read from one. */
  readonly origins?: readonly Origin[];
}

export interface InputOptions<O = unknown> extends EncodeOptions {
  /** Token ids lie below it. */
  readonly vocabSize: number;
  /** The task's, as the adapter was trained with them. */
  readonly taskOptions: O;
}

/** One run's part of a forward. */
export interface Share<E, O = unknown> {
  readonly run: number;
  readonly examples: readonly E[];
  /** The task's options, as the run has them. */
  readonly options: O;
}

/** What a run's examples came to: sums, so that micro-batches add up. */
export interface Sums {
  /** What a mean is over: supervised tokens, pairs, … */
  readonly units: number;
  readonly totals: Readonly<Record<string, number>>;
  /** The loss of each example, in their order, of tasks whose examples are learnt from each other. */
  readonly each?: readonly number[];
}

/** A number of a step and of an evaluation. */
export interface Metric extends MetricDescription {
  /** null: not of these examples. */
  of(sums: Sums): number | null;
}

/** What Hugging Face's libraries and hub call a task. */
export interface PeftTask {
  /** task_type of an adapter_config.json; null: PEFT has none for it, and finds the model's class by auto_mapping. */
  readonly taskType: string | null;
  /** Its models, after AutoModelFor, and after AutoPeftModelFor where there is a task_type. */
  readonly models: string;
  /** pipeline_tag of a card. */
  readonly pipeline: string;
  /** false: they are transformers' AutoModel, whose modules lack the name of what holds a head beside them. */
  readonly hasHead?: boolean;
}

/** The class of transformers that loads a task's models. */
export const autoModel = ({ models, hasHead = true }: PeftTask): string =>
  hasHead ? `AutoModelFor${models}` : 'AutoModel';

/** The class of PEFT that loads a task's adapters with their base; without a task_type, PEFT goes by auto_mapping. */
export const autoPeftModel = ({ taskType, models }: PeftTask): string =>
  taskType === null ? 'AutoPeftModel' : `AutoPeftModelFor${models}`;

/** The loss of guessing. */
export interface Chance {
  /** Infinity: nobody can tell. */
  readonly loss: number;
  /** What is guessed, in words after "guessing". */
  readonly of: string;
  /** Whether a run begins with it, so that it is no sign of anything. */
  readonly isStart: boolean;
}

/** The head that a task's runs have each for itself; `O`: the task's options, with nothing left open. */
export interface OwnHead<O = unknown> {
  readonly kind: TaskHeadKind;
  /** How many numbers it gives; null: with these options the base's own head is learnt with. */
  outputs(options: O): number | null;
  /** What config.json says of it, in transformers' words: names of labels. */
  config(options: O): JsonObject;
}

/** The letters that a task's own head writes, of tasks that may make them of the data. */
export interface OwnLetters<O> {
  /** The options on a base, which has letters or not. */
  on(options: O, base: { readonly ctc: object | null }): O;
  /**
   * The options of a job that goes on from an adapter.
   * @param begun the adapter's letters; null: it spells with those of its base
   * @throws DomainError naming the field that asks for others
   */
  continued(options: O, begun: readonly string[] | null): O;
  /** The options of a job whose data nobody looked at before it ran. @param stored its adapter's letters */
  trained(options: O, stored: () => readonly string[] | null): O;
  /** What their tokenizer is read from; null: they are the base's. */
  files(options: O): VocabularyFiles | null;
}

/** Looks over the records of a file before any is used. */
export interface Survey<O> {
  /**
   * Why a record that passed `check` does not go with the options or the records before it, or null.
   * @param isTrained else it is held out for validation; left out: it is
   */
  see(record: JsonObject, isTrained?: boolean): string | null;
  /** Whether the options leave nothing open, so that no record need be seen. */
  readonly isIdle?: boolean;
  /** The options, with what they left open filled in. @throws DomainError where the records do not say it */
  options(): O;
}

/** What to know of the records of a file, beside what is counted of every task's. */
export interface Notes {
  see(record: JsonObject): void;
  /** A sentence each. @param name of the data, in words */
  warnings(name: string, isTrained: boolean): string[];
}

/** How a finished adapter of a task is used where that is not by chatting. */
export interface Inference<E extends Example = Example, O = unknown> {
  readonly kind: 'classify' | 'embed' | 'transcribe';
  /**
   * One input of a request (a text, a pair of texts, token ids, …) as the task's record without its answer.
   * @throws DomainError that says what is wrong with it; whoever asks adds which of the inputs it is
   */
  record(input: unknown): JsonObject;
  /**
   * Examples without targets, in the order given.
   * @throws DomainError for token ids that the model does not have
   */
  encode(
    records: readonly JsonObject[],
    processor: Processor,
    options: InputOptions<O>,
  ): Encoded<E>[];
  /**
   * What JSON can hold of each example, share by share; called without gradients. To `embed`: the numbers of a vector.
   * To `classify`: an object whose fields stand in the response, such as vLLM's `label`, `probs` and `num_classes`, or
   * `tokens` with their tags, or `spans` of a text. To `transcribe`: the `text` that is said in a sound.
   */
  answer(model: Model, shares: readonly Share<E, O>[], ctx: BatchContext): unknown[];
  /**
   * Of a task that transcribes: an example of samples at the base's rate, which no file holds.
   * @throws DomainError where the base makes no row of them
   */
  window?(samples: Float32Array, processor: Processor, options: InputOptions<O>): Encoded<E>;
  /** Of models that write what `answer` says a token at a time. */
  readonly writing?: Writing<E, O>;
}

/**
 * What some methods ask of a task: that its loss also learns tokens of their prompts, by their weights; that its records
 * may say which prompt is theirs; that its loss learns the same tokens from other rows beside, too.
 */
export type Asked = 'learns_prompts' | 'task_ids' | 'learns_beside';

/** What a model learns to do: everything from a record to a loss and its metrics. */
export interface Task<E extends Example = Example, P = unknown, O = unknown> {
  /** PEFT's name in lower case where it has one. */
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  readonly peft: PeftTask;
  /** What a base reads; tokens when left out. */
  readonly inputs?: InputKind;
  /** What a base may be made of; a decoder alone when left out. */
  readonly stacks?: readonly StackKinds[];
  /**
   * Whether the examples of a batch (`batch_size`) are learnt from each other: `loss` gets all of a batch at once, however
   * long it is, and bounds its own forwards.
   */
  readonly wholeBatches?: boolean;
  /** How many examples a batch (`batch_size`) has at least, where they are learnt from each other; 1 when left out. */
  readonly leastBatch?: number;
  /** OpenAI's method of fine-tuning that a job of this task is. */
  readonly method: FineTuningMethod;
  /** What a method's default learning rate is multiplied by; 1 when left out. */
  readonly learningRateScale?: number;
  /** What it gives to methods that ask for it. */
  readonly gives?: readonly Asked[];
  /** Left out where the base's own head is learnt with, or none. */
  readonly head?: OwnHead<O>;
  /** Options of its own, `graft.task_options` of a job. */
  readonly options: z.ZodType<O>;
  readonly records: readonly RecordFormat[];
  /** Whether its records have one label each, by which the validation split can be stratified: `facts` has it. */
  readonly labelled?: true;
  /** Why a record cannot be learnt from, or null. */
  check(record: JsonObject): string | null;
  /** Of a record that passed `check`. */
  facts(record: JsonObject): RecordFacts;
  /** Left out where the base alone has letters, or a tokenizer. */
  readonly letters?: OwnLetters<O>;
  /** What options leave open is found in the training file; left out where they leave nothing open. */
  survey?(options: O): Survey<O>;
  notes?(options: O, processor: Processor): Notes;
  /** What to know of how often a training file has each label, or null. */
  balance?(labels: ReadonlyMap<string, number>, options: O): string | null;
  /** A record as the base's template writes it. @throws DomainError as the template does */
  prepare(record: JsonObject, processor: Processor, options: O): P;
  /** Token ids and targets, in the order given. */
  encode(prepared: readonly P[], processor: Processor, options: EncodeOptions): Encoded<E>[];
  /**
   * An example as an epoch has it, of tasks that change it from one to the next: a function of these alone, so that a run
   * that resumes sees the same.
   */
  varied?(example: E, key: DrawKey, options: O): E;
  /** The sequences of an example, of tasks whose models continue them; left out by others. */
  sequences?(example: E): readonly TokenSequence[];
  /**
   * What the mean of a step's loss counts an example as.
   * @param learnt how many virtual tokens of its run are learnt with it; null: it has none
   */
  units(example: E, learnt: number | null): number;
  /**
   * Which of an example's rows hold a token that is learnt, counted from its first; left out where the rows of a forward
   * are not those of examples, one after another.
   */
  learntRows?(example: E): ArrayLike<number>;
  /**
   * Forward and sums by run; with `scales`, what a unit of each run weighs, also the backward pass into the parameters.
   */
  loss(
    model: Model,
    shares: readonly Share<E, O>[],
    ctx: BatchContext,
    scales: ReadonlyMap<number, number> | null,
  ): Map<number, Sums>;
  /**
   * What an evaluation measures of an example beside its loss, where that takes many forwards: one in each piece, without
   * gradients; totals that are added to those of the loss.
   */
  measuring?(model: Model, run: number, example: E): Generator<void, Sums['totals'], undefined>;
  /** Left out by tasks whose models write text: they are used by chatting. */
  readonly infer?: Inference<E, O>;
  /** Which labels an evaluation took for which; null: its inputs have no one label each. */
  confusion?(sums: Sums, options: O): Confusion | null;
  /** The loss of who knows nothing, by which a run is watched. */
  chance(model: Pick<Model, 'vocabSize'>, spec: Pick<Spec, 'batch_size' | 'task_options'>): Chance;
  /** The first is the loss. */
  readonly metrics: readonly Metric[];
}

/** Gives a task its type. */
export function defineTask<E extends Example, P, O>(task: Task<E, P, O>): Task<E, P, O> {
  return task;
}

export const NO_SUMS: Sums = { units: 0, totals: {} };

export function addSums(a: Sums, b: Sums): Sums {
  return { units: a.units + b.units, totals: addTotals({ ...a.totals }, b.totals) };
}

/** @returns the first, with the others added to it */
export function addTotals(
  to: Record<string, number>,
  more: Readonly<Record<string, number>>,
): Record<string, number> {
  for (const [name, value] of Object.entries(more)) to[name] = (to[name] ?? 0) + value;
  return to;
}

/** A total's mean over the units. */
export const mean =
  (name: string) =>
  ({ units, totals }: Sums): number =>
    (totals[name] ?? 0) / Math.max(1, units);
