import type { Tensor } from '@graft/kernels';
import type { z } from 'zod';
import type { Model } from '../models/model.js';
import type { HfConfig } from '../nn/hf-files.js';
import type { PartShapes } from './frame/parameters.js';
import type { HeadRequest } from '../nn/outline/head-shapes.js';
import type { Outline } from '../nn/outline/model-outline.js';
import type { Preparation, StartNeeds } from './frame/preparation.js';
import type { TaskFeature, Task } from '../tasks/task.js';

/** Another adapter that this one uses: the name of its method, and its options. */
export interface PartOfAdapter {
  readonly method: string;
  readonly options: unknown;
}

/** Inputs of a method in addition to the model and its options. */
export interface AttachContext {
  /** Id of the run whose rows the adapter acts on. */
  readonly run: number;
  /** Seed of the initial values, which depend only on it and on the parameter's name. */
  readonly seed: number;
  /** Token ids of a text with the tokenizer's default special tokens. Required by prompt_tuning_init TEXT. */
  readonly tokenize?: (text: string) => readonly number[];
  /** Calibration statistics from the training data, by part of a module. Unset if the initialization uses no data. */
  readonly found?: NamedTensors;
  /** Adapters that this one uses, in order. The caller owns their tensors. */
  readonly adapters?: readonly (PartOfAdapter & { readonly tensors: NamedTensors })[];
  /** Head that the run's task requires; by default, that of the base's files. */
  readonly head?: HeadRequest | null;
  /** Whether the values of a file are loaded next, so that initial values are not used. */
  readonly warmStart?: boolean;
  /** Duration of a step of `attaching` in milliseconds. */
  readonly pieceMs?: number;
  /** Called after each adapted module, because initializations that decompose weights take long. */
  readonly onModule?: (done: number, of: number) => void;
}

export type NamedTensors = ReadonlyMap<string, Tensor>;

/** Update that an adapter adds to one linear layer. */
export interface WeightUpdate {
  readonly path: string;
  /** ΔW [out, in] in f32. The caller disposes it. */
  readonly update: Tensor;
  /** Whether the layer's bias changes too. */
  readonly changesBias: boolean;
  readonly isConvolution: boolean;
}

/** Attached adapter of one run. */
export interface Adapter {
  /** Trainable f32 leaf tensors, by stable names that checkpoints use as keys. Owned by the adapter. */
  readonly parameters: NamedTensors;
  /** Scalar auxiliary loss that is added to the run's loss. */
  penalty?(): Tensor;
  /** Called after each optimizer step, counted from 1, before its gradients are cleared. */
  afterStep?(step: number): void;
  /** State of training other than parameters. Checkpoints store it, and resuming writes their values into it. */
  state?(): NamedTensors;
  /** Called after a checkpoint has been loaded into the parameters and the state. */
  restored?(): void;
  /**
   * Tensors that PEFT would save, by module path: `<path>.lora_A` [r, in], `<path>.lora_B` [out, r],
   * `<path>.lora_magnitude_vector` [out], `<path>.weight` and `<path>.bias` in the file's orientation, or
   * `prompt_embeddings`. They are new handles in the current scope, or the adapter's own: copy them before the next
   * step.
   */
  exported(): Map<string, Tensor>;
  /** Paths of the linear layers or norms that it adapts, including those without parts of their own. */
  readonly adapted?: readonly string[];
  /**
   * Loads tensors with the names and shapes of `exported`. Parts that PEFT does not save (the encoders of P-tuning and
   * of projected prefixes) are discarded: the adapter then has the flat table.
   * @throws DomainError invalid_adapter with the names of missing, unexpected or misshapen tensors
   */
  load(tensors: NamedTensors): void;
  /**
   * Marks the adapter as loaded for inference only: it will not be trained, saved or merged. It may then keep only what
   * its forward pass needs, in the base's dtype.
   */
  freeze?(): void;
  /** Updates of the weights of the adapted linear layers, each computed when it is requested. */
  updates?(): Iterable<WeightUpdate>;
  /** Computes, in pieces, what the first forward pass would otherwise compute, if that takes long. */
  ready?(): Generator<void, void, undefined>;
  /** Full weights with the adapter merged, by Hugging Face weight name, in the base's dtype. */
  merged?(): Map<string, Tensor>;
  /** Resolved PEFT fields as in adapter_config.json (num_layers, token_dim, target_modules …). */
  resolvedConfig(): Record<string, unknown>;
  /** Restores the model and frees the parameters. */
  detach(): void;
}

/** Inputs of a footprint in addition to shapes and options. */
export interface FootprintContext {
  readonly modelType: string;
  /** Whether the adapter comes from a file, which may store less than an adapter trained from scratch. */
  readonly warmStart: boolean;
  /** Config of the base model. */
  readonly config: HfConfig;
  /** Adapters that this one uses, in order. */
  readonly adapters: readonly PartOfAdapter[];
}

/** Memory of an adapter in addition to trainable parameters. */
export interface Held {
  /** Number of f32 values: frozen parts, and weights that the backward pass needs. */
  readonly numbers?: number;
  /**
   * Values in the base's dtype that the backward pass needs for each row, in addition to those of the base's modules.
   */
  readonly perRow?: number;
  /** Whether the initialization runs one forward pass on the data that stores the activations of all layers. */
  readonly startKeepsAll?: boolean;
}

/** Resources that an adapter needs of a model, known before anything is loaded. */
export interface Footprint {
  readonly trainableParameters: number;
  /** Number of trainable parameters by part name, if an optimizer may freeze some parts. */
  readonly parts?: Readonly<Record<string, number>>;
  /** Names of the parameters of experts and routers that it adapts, none by default. */
  readonly experts?: readonly string[];
  /** Number of positions that virtual tokens take. */
  readonly virtualTokens: number;
  /** Maximum number of prompts in a batch, if prompts differ by task. */
  readonly prompts?: number;
  readonly held?: Held;
  /** Reason why the adapter cannot be merged into this base. Unset if it can, or if the method never can. */
  readonly unmerged?: string;
  /** Path of the token embedding, if it is adapted by factors. */
  readonly table?: string;
  /** Path of the first adapted convolution. */
  readonly convolution?: string;
}

/**
 * Place of a part of an adapter in PEFT's file: in a ModuleDict (`<path>.lora_A.weight`), in a ParameterDict
 * (`<path>.lora_magnitude_vector`), shared by all modules (`base_model.vera_A`), as the table of prompt learning, or in
 * separate modules next to the model (`base_model.shadow_backbone.default.norm.weight`).
 */
export type PartKind = 'module' | 'parameter' | 'shared' | 'prompt' | 'beside';

/** A PEFT method. Its options are PEFT's own config fields. */
export interface Method<O = unknown> {
  /** PEFT's peft_type; FULL is Graft's own, for `"peft": null`. */
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  /** arXiv address of the paper. */
  readonly paper: string | null;
  readonly defaultLearningRate: number;
  /**
   * Trainable parameters with default options, relative to LoRA of rank 16 on all linear layers, as measured on
   * SmolLM2-135M. Unset for LoRA, and if the size depends on the task or on other adapters.
   */
  readonly relativeSize?: number;
  readonly options: z.ZodType<O>;
  /** Fields of each job with this method in a sweep over methods. Unset if no sweep includes it. */
  readonly tried?: readonly Readonly<Partial<O>>[];
  /** Defaults of a job for unset fields, where PEFT's own defaults train poorly. Files keep PEFT's defaults. */
  jobDefaults?(given: Readonly<Record<string, unknown>>): Partial<O>;
  /**
   * PEFT fields that are not supported, with the value that means "not used". A config may set them to that value, null
   * or empty, as PEFT writes them; any other value is rejected with the name of the field.
   */
  readonly unsupported: Readonly<Record<string, unknown>>;
  /** Reasons why a field, or one value (`<field>=<value>`) of a supported field, is not supported. */
  readonly reasons?: Readonly<Record<string, string>>;
  /** Kind of virtual tokens before a sequence, if any: rows, or keys and values of each layer. */
  readonly virtual?: 'inputs' | 'prefix';
  /** Reason why the adapter cannot be merged into any base. Unset if it can be merged. */
  readonly unmerged?: string;
  /** Reason why no task head can train with this method. Unset if one can. */
  readonly withoutHeads?: string;
  /** Names of the adapters that this one uses, in order, none by default. */
  adapters?(options: O): readonly string[];
  /**
   * Number of tasks with their own prompts, which records select by `task_ids`. Unset if prompts do not depend on
   * tasks.
   */
  tasks?(options: O): number;
  /** Invocation tokens: the adapter acts from their last occurrence in a sequence on. Null means everywhere. */
  invocation?(options: O): readonly number[] | null;
  /** Requirements of the method on a task, in addition to a loss. */
  readonly requires?: TaskFeature;
  /** Field that PEFT applies to some task types only, and these types; null if the options apply to all. */
  taskTypes?(options: O): { readonly field: string; readonly types: readonly string[] } | null;
  /**
   * A non-default option that would have no effect, and where; null if there is none. Files may contain such options.
   */
  idle?(
    options: O,
    task: Pick<Task, 'name' | 'gives'>,
  ): { readonly field: keyof O & string; readonly where: string } | null;
  /** Whether PEFT's convert_to_lora supports it: it adds a dense matrix to the weight. */
  readonly convertsToLora?: true;
  /**
   * Options that affect only training, not the trained adapter's output. A job with an initial adapter may change them.
   * None by default.
   */
  readonly trainingOnly?: readonly (keyof O & string)[];
  /**
   * Options in an adapter's file for an initialization that is complete. A job with that initial adapter drops them.
   */
  spent?(options: O): readonly (keyof O & string)[];
  /**
   * Options that determine values missing from an adapter's file: a job with that initial adapter must use the same
   * ones.
   */
  readonly unwritten?: (options: O) => readonly (keyof O & string)[];
  /** Parts of an adapter by name, as in files; `<name>.*` means any number of parts. */
  readonly tensors: Readonly<Record<string, PartKind>>;
  /** Options of a job with this number of steps. @throws DomainError if they do not fit it */
  forSteps?(options: O, steps: number): O;
  /** Rejects options that cannot fit a family, given only the names of its modules. @throws DomainError */
  check?(options: O, linears: readonly string[], embedding: string | null): void;
  /**
   * Resources that `attach` needs on a model of these shapes. @throws DomainError as `attach` does if the options do
   * not fit the model
   */
  footprint(outline: Outline, options: O, base: FootprintContext): Footprint;
  /** Shapes of the parts in files, by the path of the linear layer. Unset if they are unknown before attaching. */
  fileShapes?(outline: Outline, options: O, modelType: string): ReadonlyMap<string, PartShapes>;
  attach(model: Model, options: O, init: AttachContext): Adapter;
  /**
   * Same as `attach`, in pieces, for methods that may take long. Stopping it early (`return`) leaves the model
   * unchanged.
   */
  attaching(model: Model, options: O, init: AttachContext): Generator<void, Adapter, undefined>;
  /** Requirements of the initialization in addition to the model, if any. */
  needs?(options: O): StartNeeds | null;
  /**
   * Collects calibration statistics from the training data for `found` of `attach`. Null if the initialization needs
   * none.
   * @throws DomainError as `attach` does if the options do not fit the model
   */
  prepare?(model: Model, options: O, init: Pick<AttachContext, 'run' | 'seed'>): Preparation | null;
}

type Defined<O> = Omit<Method<O>, 'attaching'> & Partial<Pick<Method<O>, 'attaching'>>;

/** Types a method definition. A method without `attaching` is attached in one piece. */
export const defineMethod = <O>(method: Defined<O>): Method<O> => ({
  // eslint-disable-next-line require-yield
  *attaching(model, options, init) {
    return method.attach(model, options, init);
  },
  ...method,
});
