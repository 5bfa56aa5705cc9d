import type { Tensor } from '@graft/kernels';
import type { z } from 'zod';
import type { PackedBatch } from '../batch.js';
import type { ForwardContext } from '../nn/context.js';
import type { KvCache } from '../nn/kv-cache.js';
import type { Outline } from '../nn/outline.js';
import type { Sites } from '../nn/site.js';

/** A config.json of transformers, versions 4 and 5. */
export type HfConfig = Readonly<Record<string, unknown>> & { readonly model_type: string };

export type BaseDtype = 'bf16' | 'f32';

/** Weights by their Hugging Face names. The model uses them where they lie, and converts what has another dtype. */
export type Tensors = ReadonlyMap<string, Tensor>;

export interface BuildOptions {
  readonly dtype: BaseDtype;
  readonly quantization: string | null;
}

/** A frozen decoder that runs share. */
export interface Model {
  readonly family: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly config: HfConfig;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: BaseDtype;
  /** Positions the model was made for; virtual tokens take some. */
  readonly maxPositions: number;
  /** Tied parameters count once. */
  readonly parameterCount: number;
  readonly sites: Sites;
  /**
   * Final-norm hidden states [T, D] of the batch's real rows. A leaf's gradient flows through its run's rows only.
   * With a cache, sequences that name a handle continue it, and their keys and values are kept in it.
   */
  forward(batch: PackedBatch, ctx: ForwardContext, cache?: KvCache): Tensor;
  /** Logits [n, V] of hidden rows in the base's dtype; `ctx.rows` are the ranges of these rows by run. */
  head(hidden: Tensor, ctx: ForwardContext): Tensor;
  /** An empty cache of this model's shape. */
  cache(): KvCache;
  /** Frees what the model made; tensors it was given stay their owner's. */
  dispose(): void;
}

/** A model family: how to read its config.json and how to build it. */
export interface ModelPlugin<O = unknown> {
  /** Key in the registry. */
  readonly name: string;
  readonly title: string;
  /** Values of config.json's model_type that are this family. */
  readonly modelTypes: readonly string[];
  /** The architecture in our words. */
  readonly options: z.ZodType<O>;
  /** Last segments of the module paths of its linears, head included. */
  readonly linears: readonly string[];
  fromHf(config: HfConfig): unknown;
  /** Its modules by their shapes. */
  outline(options: O): Outline;
  build(options: O, config: HfConfig, tensors: Tensors, build: BuildOptions): Model;
}
