import type { Tensor } from '@graft/kernels';
import type { z } from 'zod';
import type { Model } from '../models/model.js';
import type { HfConfig } from '../nn/hf-files.js';
import type { PartShapes } from './frame/parameters.js';
import type { HeadRequest } from '../nn/outline/head-shapes.js';
import type { Outline } from '../nn/outline/model-outline.js';
import type { Preparation, StartNeeds } from './frame/preparation.js';
import type { Asked, Task } from '../tasks/task.js';

/** An adapter that one is made of: its method's name, and its options. */
export interface PartOfAdapter {
  readonly method: string;
  readonly options: unknown;
}

/** What a method needs besides the model and its options. */
export interface AttachContext {
  /** Id of the run whose rows the adapter acts on. */
  readonly run: number;
  /** Initial values are a function of this seed and the parameter's name. */
  readonly seed: number;
  /** Token ids of a text with the tokenizer's default special tokens: prompt_tuning_init TEXT needs it. */
  readonly tokenize?: (text: string) => readonly number[];
  /** What the start has found in the training data, by part of a module; of a start that looks at none, nothing. */
  readonly found?: NamedTensors;
  /** Adapters that this one is made of, in their order; their numbers belong to whoever gives them. */
  readonly adapters?: readonly (PartOfAdapter & { readonly tensors: NamedTensors })[];
  /** The head that the run's task wants; left out, what the base's files have. */
  readonly head?: HeadRequest | null;
  /** Whether its parts get the values of a file next: what they begin as is of no use. */
  readonly begun?: boolean;
  /** Of a piece of `attaching`. */
  readonly pieceMs?: number;
  /** Called after each module that was adapted: starts that decompose weights take their time. */
  readonly onModule?: (done: number, of: number) => void;
}

/** Tensors by name. */
export type NamedTensors = ReadonlyMap<string, Tensor>;

/** What an adapter adds to one linear. */
export interface WeightUpdate {
  readonly path: string;
  /** ΔW [out, in] in f32; the caller's to free. */
  readonly update: Tensor;
  /** Whether the linear's bias changes too. */
  readonly changesBias: boolean;
  readonly isConvolution: boolean;
}

/** What a method has attached for one run. */
export interface Adapter {
  /** f32 leaves that train, by names that stay: checkpoints are keyed by them. Owned by the adapter. */
  readonly parameters: NamedTensors;
  /** Added to the run's loss; a scalar. */
  penalty?(): Tensor;
  /** Called after each optimiser step, counted from 1, before its gradients are forgotten. */
  afterStep?(step: number): void;
  /** What steps depend on besides parameters: checkpoints keep it, and put their values in it. */
  state?(): NamedTensors;
  /** Called when a checkpoint's values are in the parameters and the state. */
  restored?(): void;
  /**
   * What PEFT would save, by module path: `<path>.lora_A` [r, in], `<path>.lora_B` [out, r],
   * `<path>.lora_magnitude_vector` [out], `<path>.weight` and `<path>.bias` in the file's orientation, or
   * `prompt_embeddings`. New handles in the current scope, or the adapter's own: copy before the next step.
   */
  exported(): Map<string, Tensor>;
  /** Paths of the linears that it adapts, which need not have parts of their own. */
  readonly adapted?: readonly string[];
  /**
   * The inverse of `exported`, with the same names and shapes. What PEFT does not save (the encoders of P-tuning
   * and of projected prefixes) is gone: the adapter then holds the flat table.
   * @throws DomainError invalid_adapter naming what is missing, unexpected or misshapen
   */
  load(tensors: NamedTensors): void;
  /**
   * Says that it is loaded, and that it will neither train nor be saved or merged: it may keep no more than what rows are
   * made with, in the base's dtype.
   */
  freeze?(): void;
  /** What it adds to the weight of each linear that it adapts, made when it is asked for. */
  updates?(): Iterable<WeightUpdate>;
  /** Makes, in pieces, what else the first rows would make that take it, where that takes long. */
  ready?(): Generator<void, void, undefined>;
  /** Whole weights with the adapter in them, by Hugging Face weight name, in the base's dtype. */
  merged?(): Map<string, Tensor>;
  /** PEFT's fields as adapter_config.json has them, resolved (num_layers, token_dim, target_modules …). */
  resolvedConfig(): Record<string, unknown>;
  /** Leaves the model as it was and frees the parameters. */
  detach(): void;
}

/** What a footprint depends on besides shapes and options. */
export interface FootprintContext {
  readonly modelType: string;
  /** From an adapter's file, which may hold less than trains from scratch. */
  readonly begun: boolean;
  /** Of the base. */
  readonly config: HfConfig;
  /** Adapters that this one is made of, in their order. */
  readonly adapters: readonly PartOfAdapter[];
}

/** What an adapter holds beside what trains. */
export interface Held {
  /** Numbers in f32: parts that do not train, and weights that a backward pass needs. */
  readonly numbers?: number;
  /** Numbers in the base's dtype that a backward pass needs of each row, beside the rows of the base's modules. */
  readonly perRow?: number;
  /** Whether its start learns from the data once, in a forward that keeps what all layers make. */
  readonly startKeepsAll?: boolean;
}

/** What an adapter takes of a model, known before anything is loaded. */
export interface Footprint {
  /** Numbers that train. */
  readonly trainableParameters: number;
  /** How many of them are in the parts of one name, where an optimiser may freeze some parts. */
  readonly parts?: Readonly<Record<string, number>>;
  /** Parameters of experts and routers that it adapts, by name; left out, none. */
  readonly experts?: readonly string[];
  /** Positions that virtual tokens take. */
  readonly virtualTokens: number;
  /** How often a batch has them at most, where they are by task. */
  readonly prompts?: number;
  readonly held?: Held;
  /** Why this base cannot be merged with it; left out: it can, as far as the method can. */
  readonly unmerged?: string;
  /** Path of the token embedding, where it adapts that by factors. */
  readonly table?: string;
  /** Path of the first convolution that it adapts. */
  readonly convolution?: string;
}

/**
 * How PEFT keeps a part of an adapter in its file: in a ModuleDict (`<path>.lora_A.weight`), in a ParameterDict
 * (`<path>.lora_magnitude_vector`), once for all modules (`base_model.vera_A`), or as the table of prompt learning;
 * or the part has modules of its own beside the model (`base_model.shadow_backbone.default.norm.weight`).
 */
export type PartKind = 'module' | 'parameter' | 'shared' | 'prompt' | 'beside';

/** A PEFT method. Its options are PEFT's own config fields. */
export interface Method<O = unknown> {
  /** PEFT's peft_type; FULL is ours, for `"peft": null`. */
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  /** arXiv address. */
  readonly paper: string | null;
  readonly defaultLearningRate: number;
  readonly options: z.ZodType<O>;
  /** Fields of each job with it in a sweep over methods; left out, it is in none. */
  readonly tried?: readonly Readonly<Partial<O>>[];
  /**
   * What a job gets for the fields that it leaves out, where PEFT's own defaults teach badly. Files keep PEFT's.
   */
  jobDefaults?(given: Readonly<Record<string, unknown>>): Partial<O>;
  /**
   * PEFT's fields that are not supported, with the value that means "not used". They may stand in a config with
   * that value, with null or empty, as PEFT writes them; anything else is refused by name.
   */
  readonly unsupported: Readonly<Record<string, unknown>>;
  /** Why an unsupported field is so, or a value (`<field>=<value>`) of one that has others. */
  readonly reasons?: Readonly<Record<string, string>>;
  /** Where virtual tokens come before a sequence, if it has some: as rows, or as keys and values of each layer. */
  readonly virtual?: 'inputs' | 'prefix';
  /** Why no weight of any base can hold it, so that it cannot be merged; left out, weights can. */
  readonly unmerged?: string;
  /** Why no head of a task trains beside it; left out, one does. */
  readonly withoutHeads?: string;
  /** Names of the adapters that it is made of, in their order; left out, of none. */
  adapters?(options: O): readonly string[];
  /** How many tasks its prompts are by, which records then say (`task_ids`); left out, they are by none. */
  tasks?(options: O): number;
  /** Tokens of a sequence from the last of which on it acts; null: everywhere. */
  invocation?(options: O): readonly number[] | null;
  /** What it asks of a task beside a loss. */
  readonly asks?: Asked;
  /** With options that PEFT heeds in some tasks alone: which field that is, and the task types; null: in all. */
  taskTypes?(options: O): { readonly field: string; readonly types: readonly string[] } | null;
  /** An option with another value than its default that would do nothing, and in what; null: none. Files may have such. */
  idle?(
    options: O,
    task: Pick<Task, 'name' | 'gives'>,
  ): { readonly field: keyof O & string; readonly where: string } | null;
  /** Whether PEFT's convert_to_lora takes it: it adds a dense matrix to the weight. */
  readonly convertsToLora?: true;
  /**
   * Options that say how it is trained, and nothing of what it computes when it is trained: a job that goes on from an
   * adapter may change them. Left out, none.
   */
  readonly trainingOnly?: readonly (keyof O & string)[];
  /** Options in an adapter's file of a start that is over: a job that goes on from the adapter does not have them. */
  spent?(options: O): readonly (keyof O & string)[];
  /** Options that say what an adapter's file leaves out: none but the same ones go with it. */
  readonly unwritten?: (options: O) => readonly (keyof O & string)[];
  /** Parts of an adapter by name, as files have them; `<name>.*` is any number of parts. */
  readonly tensors: Readonly<Record<string, PartKind>>;
  /** The options of a job of so many steps. @throws DomainError where they do not fit that */
  forSteps?(options: O, steps: number): O;
  /** Refuses options that cannot fit a family, knowing only what its modules are called. @throws DomainError */
  check?(options: O, linears: readonly string[], embedding: string | null): void;
  /**
   * What `attach` makes on a model of these shapes. @throws DomainError as `attach` does where the options do not fit the model
   */
  footprint(outline: Outline, options: O, base: FootprintContext): Footprint;
  /** Shapes of its parts in files, by the path of the linear. Left out: nobody knows before it is attached. */
  fileShapes?(outline: Outline, options: O, modelType: string): ReadonlyMap<string, PartShapes>;
  attach(model: Model, options: O, init: AttachContext): Adapter;
  /** The same in pieces, where that may take long. One that is given up (`return`) leaves nothing on the model. */
  attaching(model: Model, options: O, init: AttachContext): Generator<void, Adapter, undefined>;
  /** What its start needs beside the model, where it needs something. */
  needs?(options: O): StartNeeds | null;
  /**
   * Looks at the training data for `attach`, whose `found` it gives; null where the start needs none.
   * @throws DomainError as `attach` does where the options do not fit the model
   */
  prepare?(model: Model, options: O, init: Pick<AttachContext, 'run' | 'seed'>): Preparation | null;
}

type Defined<O> = Omit<Method<O>, 'attaching'> & Partial<Pick<Method<O>, 'attaching'>>;

/** Gives a method its type. One without `attaching` is attached in one piece. */
export const defineMethod = <O>(method: Defined<O>): Method<O> => ({
  // eslint-disable-next-line require-yield
  *attaching(model, options, init) {
    return method.attach(model, options, init);
  },
  ...method,
});
