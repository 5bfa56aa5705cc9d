import type { Tensor } from '@graft/kernels';
import type { z } from 'zod';
import type { Batch, Outputs, Sequence } from '../nn/batch.js';
import type { BatchContext, ForwardContext } from '../nn/context.js';
import type { KvCache } from '../nn/kv-cache.js';
import type { CtcOptions, ModelOptions } from '../nn/outline/stack-options.js';
import type { HfConfig } from '../nn/hf-files.js';
import type { BaseDtype } from '../nn/precision.js';
import type { Linear } from '../nn/layers/linear.js';
import type { Modules } from '../nn/sites/modules.js';
import type { Masking } from '../nn/front-ends/masking.js';
import type { InputKind } from '../nn/front-ends/registry.js';
import type { HeadRequest } from '../nn/outline/head-shapes.js';
import type { Stack } from '../nn/stack.js';
import type { Aliases } from '../nn/outline/aliases.js';
import type { GgufFormat } from './frame/gguf-format.js';
import type { HfTable, HfValues } from './frame/hf-config.js';
import type { ModelPaths } from '../nn/outline/model-paths.js';

/** Kind of output head: `lm` returns logits [n, V] of the next token, or of the CTC token of each row. */
export type HeadKind = 'lm';

/** Stacks of blocks of a model. */
export interface Stacks {
  readonly encoder: Stack | null;
  readonly decoder: Stack | null;
}

/** Frozen base model that runs share. Sizes are those of the stack that reads the input. */
export interface Model {
  readonly family: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly config: HfConfig;
  /** 0 if it neither reads nor generates tokens. */
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Width of embedded rows, including virtual ones. */
  readonly embeddingSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Number of key heads of a prefix: that of keys, or that of queries. */
  readonly prefixHeads: number;
  readonly headDim: number;
  readonly dtype: BaseDtype;
  readonly quantization: string | null;
  /** Number of positions that the model was trained for. Virtual tokens use some of them. */
  readonly maxPositions: number;
  /**
   * Largest sequence length up to which rotary frequencies do not depend on the length. It is the limit for
   * sequences that share virtual tokens.
   */
  readonly fixedRopePositions: number;
  /** Default length to which examples are truncated; jobs may request more. If undefined, maxPositions. */
  readonly defaultMaxSeqLen: number | undefined;
  /** PEFT's num_transformer_submodules. */
  readonly stackCount: 1 | 2;
  /** Number of decoder layers that attend to an encoder; 0 if there is none. */
  readonly attendingLayers: number;
  /** Whether every layer has attention, and so keys and values. */
  readonly allLayersAttend: boolean;
  readonly inputKind: InputKind;
  /** Whether the first row of an image is a learned class token. */
  readonly hasClassToken: boolean;
  /** Masking of input rows in training; null if there is none. */
  readonly masking: Masking | null;
  /**
   * Returns the number of rows for an input of this shape, such as [C, H, W] of an image.
   * @throws DomainError if the model cannot read it
   */
  inputRows(shape: readonly number[]): number;
  /** First token of the decoder's input; null if the prompt comes first. */
  readonly startToken: number | null;
  /** Largest number of tokens that an encoder-decoder can generate; null for other models. */
  readonly targetPositions: number | null;
  /** CTC options of an encoder that predicts a CTC token or the blank for each row; null for other models. */
  readonly ctc: CtcOptions | null;
  /** Number of parameters. Tied parameters count once. */
  readonly parameterCount: number;
  readonly stacks: Stacks;
  /** Heads in the model's files. Task heads belong to their runs (`modules.heads`). */
  readonly outputHeads: ReadonlyMap<HeadKind, Linear>;
  readonly modules: Modules;
  /** Tensors in the files that are not parameters, by name. They are never trained. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /**
   * Returns the output of each stack. A leaf's gradient comes from its run's rows only. With a cache,
   * sequences that have a handle continue the cached ones, and their keys and values are added to it.
   */
  forward<B extends Batch>(batch: B, ctx: BatchContext, cache?: KvCache): Outputs<B>;
  /**
   * Applies a head to hidden states [n, D]; the result has the base's dtype. `ctx.rows` are the ranges of
   * these rows by run.
   */
  head(kind: HeadKind, hidden: Tensor, ctx: ForwardContext): Tensor;
  /**
   * Pools the rows [T, D] of each image into one: [sequences, D]. Null if the model has no pooling head. It
   * comes from the files and is independent of a task's head.
   */
  pool(hidden: Tensor, sequences: readonly Sequence[], ctx: BatchContext): Tensor | null;
  /**
   * Creates a task's head for a run and returns the model with this head instead of the lm head.
   * `modules.detach` removes the head. @throws DomainError if the family has no such head
   */
  withHead(run: number, head: HeadRequest, seed: number): Model;
  /** Returns an empty cache for this model. */
  cache(): KvCache;
  /** Frees the tensors that the model created. Tensors that it was given belong to their owner. */
  dispose(): void;
}

/** Everything that is specific to a model family. */
export interface ModelPlugin<T extends HfTable = HfTable> {
  /** Key in the registry. */
  readonly name: string;
  readonly title: string;
  /**
   * Values of config.json's model_type that belong to the family, including derivatives under other names.
   */
  readonly modelTypes: readonly string[];
  /**
   * Whether files on the Hub refer to code of their own (`auto_map`) although Transformers has the model
   * built in. The code is ignored, as Transformers ignores it without `trust_remote_code`.
   */
  readonly hasOwnCode?: true;
  /** Keys of config.json that it reads. */
  readonly hf: T;
  /** Converts config.json's values to the options of the architecture. */
  options(hf: HfValues<T>, modelType: string): z.input<typeof ModelOptions>;
  readonly paths: ModelPaths;
  /** Module paths that differ in files, with the names that they have there; '{n}' is the layer's number. */
  readonly aliases?: Aliases;
  /**
   * Class name suffixes of the family in Transformers, by the suffix of the AutoModel class, if they differ:
   * Wav2Vec2ForSequenceClassification is loaded by AutoModelForAudioClassification.
   */
  readonly classes?: Readonly<Record<string, string>>;
  /** Formats of GGUF files (llama.cpp) for the family. */
  readonly gguf?: readonly GgufFormat[];
}

/** Defines a model family with its type. */
export const defineModel = <T extends HfTable>(model: ModelPlugin<T>): ModelPlugin<T> => model;
