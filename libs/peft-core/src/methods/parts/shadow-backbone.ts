/**
 * Backbone of a shadow (PEFT's "mirror"): a fully trainable model of the base's family with fewer and smaller layers.
 * It reads the base's token embeddings or its own. Initial values: N(0, initializer_range²), norms 1, biases 0.
 */
import { ones, tensor, tidy, to, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { PackedRows } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import type { HfConfig, Tensors } from '../../nn/hf-files.js';
import { buildModel, forConfig, outlineOf } from '../../models/registry.js';
import type { BatchContext } from '../../nn/context.js';
import type { CacheShape, KvCache } from '../../nn/kv-cache.js';
import { headPrefix } from '../../nn/outline/model-paths.js';
import type { Role } from '../../nn/layers/linear.js';
import type { Outline } from '../../nn/outline/model-outline.js';
import type { ModuleIndex } from '../../nn/outline/outline.js';
import type { Stack } from '../../nn/stack.js';
import { ModuleSizes, ModulesToSave } from '../targets/modules-to-save.js';
import type { TrainsModules } from '../targets/modules-to-save.js';
import { normal } from '../../nn/random-init.js';

/** Options of the backbone in a config. */
export interface BackboneOptions {
  readonly shadow_num_hidden_layers: number | null;
  readonly shadow_hidden_size: number | null;
  readonly shadow_num_attention_heads: number | null;
  readonly shadow_intermediate_size: number | null;
  readonly share_embeddings: boolean;
}

/**
 * model_types whose backbone was compared with PEFT's, and whether their configs keep the head size when other sizes
 * change.
 */
const FAMILIES: Readonly<Record<string, { readonly keepsHeads: boolean }>> = {
  llama: { keepsHeads: true },
  mistral: { keepsHeads: true },
  ministral: { keepsHeads: true },
  qwen2: { keepsHeads: false },
  qwen3: { keepsHeads: true },
  seed_oss: { keepsHeads: true },
  cwm: { keepsHeads: true },
  iquestcoder: { keepsHeads: true },
  gemma: { keepsHeads: true },
  gemma2: { keepsHeads: true },
  gemma3_text: { keepsHeads: true },
  phi3: { keepsHeads: false },
  olmo2: { keepsHeads: false },
  granite: { keepsHeads: false },
  smollm3: { keepsHeads: false },
};

const NAME = 'shadow_backbone.default';

/** Returns the config.json of the backbone. @throws DomainError for a family that was not compared with PEFT */
export function mirrored(config: HfConfig, options: BackboneOptions): HfConfig {
  const { model_type: type } = config;
  const family = FAMILIES[type];
  if (!family) {
    const message = `SHADOW is not supported for model_type ${type}: supported are ${Object.keys(FAMILIES).join(', ')}; choose another method`;
    throw new DomainError('unsupported', message, 'peft.peft_type');
  }
  const { shadow_num_hidden_layers: given, shadow_hidden_size: hidden } = options;
  const { shadow_num_attention_heads: heads, shadow_intermediate_size: inner } = options;
  const layers = given ?? 1;
  const { layer_types: types } = config;
  return {
    ...config,
    ...(family.keepsHeads && { head_dim: outlineOf(config).headDim }),
    num_hidden_layers: layers,
    ...(Array.isArray(types) && { layer_types: cut(types as unknown[], layers) }),
    ...(hidden !== null && { hidden_size: hidden }),
    ...(heads !== null && { num_attention_heads: heads }),
    ...(inner !== null && { intermediate_size: inner }),
    // the backbone has no head and is never quantized
    tie_word_embeddings: true,
    quantization_config: undefined,
  };
}

/** Returns the first `count` values of a per-layer list, repeating the last value if the list is shorter. */
const cut = (list: readonly unknown[], count: number): unknown[] =>
  Array.from({ length: count }, (_, i) => list[Math.min(i, list.length - 1)]);

/** Returns the shapes of the backbone's modules. @throws DomainError for incompatible sizes */
export function backboneOutline(config: HfConfig, options: BackboneOptions): Outline {
  const small = mirrored(config, options);
  try {
    return outlineOf(small);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const message = `the shadow backbone cannot be created: ${error.message}; change shadow_hidden_size, shadow_num_attention_heads or shadow_num_hidden_layers`;
    throw new DomainError('invalid_value', message, 'peft.shadow_hidden_size');
  }
}

/** Whether the backbone uses the base's embeddings. As in PEFT, it has its own if its width differs. */
export const sharesTable = (
  { share_embeddings: shared, shadow_hidden_size: width }: BackboneOptions,
  hiddenSize: number,
): boolean => shared && (width === null || width === hiddenSize);

interface Named {
  readonly path: string;
}

/** Makes all of the backbone trainable. It has no head. */
function train<L extends Named & { readonly role: Role }, N extends Named, E extends Named, W>(
  own: TrainsModules<L, N, E, W>,
  modules: ModuleIndex<L, N, E>,
  shared: boolean,
): void {
  for (const linear of modules.linears()) if (linear.role !== 'head') own.trainLinear(linear);
  for (const norm of modules.norms()) own.trainNorm(norm);
  for (const table of modules.embeddings().slice(shared ? 1 : 0)) own.trainEmbedding(table);
}

/** Returns the number of trainable parameters of the backbone. */
export function backboneSize(outline: Outline, shared: boolean): number {
  const sizes = new ModuleSizes();
  train(sizes, outline, shared);
  return sizes.total;
}

export class Backbone {
  /** Trainable parameters by their names in files. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly cache: CacheShape;
  readonly hiddenSize: number;
  readonly #model: Model;
  readonly #own: ModulesToSave;
  readonly #stack: Stack;
  readonly #table: Model['modules']['tokenEmbedding'] | null;

  constructor(base: Model, run: number, seed: number, options: BackboneOptions) {
    const { config, dtype, modules } = base;
    const shared = sharesTable(options, base.hiddenSize);
    const outline = backboneOutline(config, options);
    const small = mirrored(config, options);
    const weights = initial(outline, base, seed, shared);
    this.#model = buildModel(small, weights, { dtype, quantization: null });
    this.#own = new ModulesToSave(run);
    train(this.#own, this.#model.modules, shared);
    const { length: skip } = headPrefix(forConfig(config).paths);
    this.parameters = new Map(
      [...this.#own.parameters].map(([name, each]) => [`${NAME}.${name.slice(skip)}`, each]),
    );
    this.#table = shared ? modules.tokenEmbedding : null;
    this.#stack = this.#model.stacks.decoder as Stack;
    const { cachedLayers, shape } = this.#stack;
    const { kvHeads, headDim, hiddenSize } = shape;
    this.hiddenSize = hiddenSize;
    this.cache = { layers: cachedLayers, headsOf: () => kvHeads, headDim, dtype };
  }

  /** Returns the hidden states [n, backbone width] of a run's rows. */
  forward(rows: PackedRows, ctx: BatchContext, cache: KvCache | undefined): Tensor {
    const { inputs, sequences } = rows;
    const own = { ...rows, inputs: this.#table ? this.#embedded(inputs, sequences, ctx) : inputs };
    return this.#stack.forward(own, ctx, { cache }).hidden;
  }

  dispose(): void {
    this.#own.dispose();
    this.#model.dispose();
  }

  #embedded(
    inputs: PackedRows['inputs'],
    sequences: PackedRows['sequences'],
    ctx: BatchContext,
  ): Tensor {
    if (!(inputs instanceof Int32Array) || !this.#table) return inputs as Tensor;
    const { length } = inputs;
    const rows = [{ run: sequences[0]?.run as number, start: 0, length }];
    return this.#table.forward(tensor(inputs, [length]), { ...ctx, rows });
  }
}

/** Returns the initial weights, created on access. */
function initial(outline: Outline, base: Model, seed: number, shared: boolean): Tensors {
  const { initializer_range: given } = base.config;
  const deviation = typeof given === 'number' ? given : 0.02;
  const { dtype } = base;
  const random = (name: string, shape: readonly number[]) => (): Tensor =>
    tidy(() => to(normal(shape, deviation, seed, name), dtype));
  const made = new Map<string, () => Tensor>();
  for (const { path, role, inFeatures, outFeatures, hasBias } of outline.linears()) {
    if (role === 'head') continue;
    made.set(`${path}.weight`, random(`${path}.weight`, [outFeatures, inFeatures]));
    if (hasBias) made.set(`${path}.bias`, () => zeros([outFeatures], dtype));
  }
  for (const { path, kind, features, hasBias } of outline.norms()) {
    const isFromOne = kind === 'rms_from_one';
    made.set(`${path}.weight`, () => (isFromOne ? zeros : ones)([features], dtype));
    if (hasBias) made.set(`${path}.bias`, () => zeros([features], dtype));
  }
  const { tokenEmbedding } = base.modules;
  for (const { path, rows, columns } of outline.embeddings()) {
    const table = shared && path === tokenEmbedding?.path ? tokenEmbedding : null;
    const name = `${path}.weight`;
    made.set(name, table ? () => table.weight : random(name, [rows, columns]));
  }
  return { has: (name) => made.has(name), get: (name) => made.get(name)?.() };
}
