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

/** What the head of a base is for: `lm` gives logits [n, V] of the next token, or of the letter of each row. */
export type HeadKind = 'lm';

/** The stacks of blocks that a model is made of. */
export interface Stacks {
  readonly encoder: Stack | null;
  readonly decoder: Stack | null;
}

/** A frozen model that runs share. Its sizes are those of the stack that reads the input. */
export interface Model {
  readonly family: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly config: HfConfig;
  /** 0: it neither reads nor writes tokens. */
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Width of embedded rows, virtual ones included. */
  readonly embeddingSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Of a prefix's keys: as many as keys have, or queries. */
  readonly prefixHeads: number;
  readonly headDim: number;
  readonly dtype: BaseDtype;
  readonly quantization: string | null;
  /** Positions the model was made for; virtual tokens take some. */
  readonly maxPositions: number;
  /** Up to how many of them sequences are rotated alike, whatever their length: none that share virtual tokens has more. */
  readonly alikePositions: number;
  /** Where examples are cut unless a job asks for more; undefined: at the last position. */
  readonly defaultMaxSeqLen: number | undefined;
  /** PEFT's num_transformer_submodules. */
  readonly stackCount: 1 | 2;
  /** Layers of the decoder where it attends to an encoder; else 0. */
  readonly attendingLayers: number;
  /** Whether every layer attends, so that all have keys and values. */
  readonly attendsThroughout: boolean;
  /** What it reads. */
  readonly inputKind: InputKind;
  /** Whether the first of a picture's rows is a learned one that stands for all of it. */
  readonly hasClassToken: boolean;
  /** What training hides of the rows that it makes of an input; null: nothing. */
  readonly masking: Masking | null;
  /** Rows that it makes of an input of this shape: a picture's [C, H, W]. @throws DomainError for one that it does not read */
  inputRows(shape: readonly number[]): number;
  /** The token that its decoder begins with; null where the prompt itself does. */
  readonly startToken: number | null;
  /** Of a decoder beside an encoder: how many tokens it can write; null where there is none. */
  readonly targetPositions: number | null;
  /** Of an encoder that writes a letter for each row, or nothing; null where it writes none. */
  readonly ctc: CtcOptions | null;
  /** Tied parameters count once. */
  readonly parameterCount: number;
  readonly stacks: Stacks;
  /** Of its files; the heads of tasks are their runs' (`modules.heads`). */
  readonly outputHeads: ReadonlyMap<HeadKind, Linear>;
  readonly modules: Modules;
  /** What its files hold beside parameters, by name: it never trains. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /**
   * What each stack makes of its rows. A leaf's gradient flows through its run's rows only. With a cache, sequences
   * that name a handle continue it, and their keys and values are kept in it.
   */
  forward<B extends Batch>(batch: B, ctx: BatchContext, cache?: KvCache): Outputs<B>;
  /** What a head makes of hidden rows [n, D], in the base's dtype; `ctx.rows` are the ranges of these rows by run. */
  head(kind: HeadKind, hidden: Tensor, ctx: ForwardContext): Tensor;
  /**
   * [sequences, D]: what it makes of all rows [T, D] of each picture; null: it has nothing of the kind. Of the files, and not
   * of the task.
   */
  pool(hidden: Tensor, sequences: readonly Sequence[], ctx: BatchContext): Tensor | null;
  /**
   * The model as a run sees it whose task has a head, which is made here: with that one instead of the lm head. Goes
   * with what `modules.detach` removes. @throws DomainError where the family has no such head
   */
  withHead(run: number, head: HeadRequest, seed: number): Model;
  /** An empty cache of this model's shape. */
  cache(): KvCache;
  /** Frees what the model made; tensors it was given stay their owner's. */
  dispose(): void;
}

/** A model family: everything that is its own. */
export interface ModelPlugin<T extends HfTable = HfTable> {
  /** Key in the registry. */
  readonly name: string;
  readonly title: string;
  /** Values of config.json's model_type that are this family; derivatives under other names. */
  readonly modelTypes: readonly string[];
  /**
   * Whether its files on the Hub name code of their own (`auto_map`) for what transformers has built in since: it is
   * passed over, as transformers passes it over unless it is told to trust it.
   */
  readonly hasOwnCode?: true;
  /** The keys of config.json that it reads. */
  readonly hf: T;
  /** The architecture in our words. */
  options(hf: HfValues<T>, modelType: string): z.input<typeof ModelOptions>;
  readonly paths: ModelPaths;
  /** Module paths that files call otherwise, with the name they have there; '{n}' stands for the layer. */
  readonly aliases?: Aliases;
  /** What follows `For` in the names of its models in transformers where that is not what AutoModelFor calls a task. */
  readonly classes?: Readonly<Record<string, string>>;
  /** How llama.cpp's files hold it. */
  readonly gguf?: readonly GgufFormat[];
}

/** Gives a model family its type. */
export const defineModel = <T extends HfTable>(model: ModelPlugin<T>): ModelPlugin<T> => model;
