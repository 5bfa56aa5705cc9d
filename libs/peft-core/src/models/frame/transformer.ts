/** Model of an encoder, a decoder or both, with or without an lm head. */
import { add, div, mul, tanh, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { runRows } from '../../nn/batch.js';
import type { Batch, Outputs, Sequence } from '../../nn/batch.js';
import type { BatchContext, ForwardContext } from '../../nn/context.js';
import { KvCache } from '../../nn/kv-cache.js';
import type { Linear } from '../../nn/layers/linear.js';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { Masking } from '../../nn/front-ends/masking.js';
import { hasClassToken, maskingOf } from '../../nn/front-ends/registry.js';
import type { InputKind } from '../../nn/front-ends/registry.js';
import type { Modules, ModulesParts } from '../../nn/sites/modules.js';
import type { Norm } from '../../nn/layers/norm.js';
import { modulesWith, optionsWith } from '../../nn/outline/head-shapes.js';
import { Outline } from '../../nn/outline/model-outline.js';
import { targetPositions } from '../../nn/outline/outline.js';
import type { StackShape } from '../../nn/outline/outline.js';
import type { Description } from '../../nn/outline/description.js';
import type { HeadRequest } from '../../nn/outline/head-shapes.js';
import { PoolingHead } from '../../nn/layers/pooling-head.js';
import type { Stack } from '../../nn/stack.js';
import type { ModelPaths } from '../../nn/outline/model-paths.js';
import type { CtcOptions, ModelOptions, StackOptions } from '../../nn/outline/stack-options.js';
import { makeHead } from './make-head.js';
import type { HeadKind, Model, Stacks } from '../model.js';
import type { HfConfig } from '../../nn/hf-files.js';
import type { BaseDtype, Precision } from '../../nn/precision.js';

const SILENT =
  'this base is an encoder and generates no text; chat with a base that has a decoder, or train a task on it';
const NO_HEAD =
  'this base generates no text because it has no language-model head; chat with one that transformers saved as a ForCausalLM, or train a task on it';

/** Components of a model, which assemble.ts creates. */
export interface TransformerParts {
  readonly family: string;
  readonly config: HfConfig;
  readonly options: ModelOptions;
  readonly precision: Precision;
  readonly stacks: Stacks;
  readonly paths: ModelPaths;
  /** All modules in its files. */
  readonly made: Pick<
    Description<Linear, Norm, Embedding>,
    'linears' | 'norms' | 'lmHead' | 'poolers' | 'pooling'
  >;
  readonly modules: Modules;
  readonly parameterCount: number;
  /** Bias of the logits [1, V] with its name in the files; null if there is none. */
  readonly logitBias: { readonly name: string; readonly tensor: Tensor } | null;
  dispose(): void;
}

/** Returns the modules that an outline contains. */
function within(modules: Modules, outline: Outline): Omit<ModulesParts, 'tied' | 'stacks'> {
  const those = <T extends { readonly path: string }>(
    list: readonly T[],
    shapes: readonly { readonly path: string }[],
  ): T[] => {
    const paths = new Set(shapes.map(({ path }) => path));
    return list.filter(({ path }) => paths.has(path));
  };
  return {
    linears: those(modules.linears(), outline.linears()),
    norms: those(modules.norms(), outline.norms()),
    embeddings: those(modules.embeddings(), outline.embeddings()),
    tokenEmbedding: outline.tokenEmbedding && modules.tokenEmbedding,
  };
}

export class Transformer implements Model {
  readonly family: string;
  readonly config: HfConfig;
  readonly options: ModelOptions;
  readonly dtype: BaseDtype;
  readonly quantization: string | null;
  readonly stacks: Stacks;
  readonly outputHeads: ReadonlyMap<HeadKind, Linear>;
  readonly modules: Modules;
  readonly parameterCount: number;
  readonly #parts: TransformerParts;

  constructor(parts: TransformerParts) {
    this.family = parts.family;
    this.config = parts.config;
    this.options = parts.options;
    this.dtype = parts.precision.dtype;
    this.quantization = parts.precision.quantization;
    this.stacks = parts.stacks;
    const { lmHead } = parts.made;
    this.outputHeads = new Map(lmHead ? [['lm', lmHead]] : []);
    this.modules = parts.modules;
    this.parameterCount = parts.parameterCount;
    this.#parts = parts;
  }

  /** Sizes of the stack that reads the input. */
  get #input(): StackShape {
    return ((this.stacks.encoder ?? this.stacks.decoder) as Stack).shape;
  }

  get vocabSize(): number {
    return this.options.vocabSize;
  }

  get hiddenSize(): number {
    return this.#input.hiddenSize;
  }

  get embeddingSize(): number {
    return this.#input.embeddingSize;
  }

  get layers(): number {
    return this.#input.layers;
  }

  get heads(): number {
    return this.#input.heads;
  }

  get kvHeads(): number {
    return this.#input.kvHeads;
  }

  get prefixHeads(): number {
    return this.#input.prefixHeads;
  }

  get headDim(): number {
    return this.#input.headDim;
  }

  get maxPositions(): number {
    return this.#input.maxPositions;
  }

  get fixedRopePositions(): number {
    return this.#input.fixedRopePositions;
  }

  get defaultMaxSeqLen(): number | undefined {
    return this.#input.defaultMaxSeqLen;
  }

  get stackCount(): 1 | 2 {
    return this.stacks.encoder && this.stacks.decoder ? 2 : 1;
  }

  get attendingLayers(): number {
    return this.stacks.encoder ? (this.stacks.decoder?.shape.layers ?? 0) : 0;
  }

  get allLayersAttend(): boolean {
    return this.#input.allLayersAttend;
  }

  get constants(): ReadonlyMap<string, Tensor> {
    const { logitBias: bias } = this.#parts;
    return new Map(bias ? [[bias.name, bias.tensor]] : []);
  }

  get hasClassToken(): boolean {
    const { encoder, decoder } = this.options;
    return hasClassToken((encoder ?? decoder)?.frontEnd);
  }

  get inputKind(): InputKind {
    return this.#input.inputKind;
  }

  get masking(): Masking | null {
    return maskingOf(this.options.encoder?.frontEnd);
  }

  inputRows(shape: readonly number[]): number {
    return this.#input.inputRows(shape);
  }

  get startToken(): number | null {
    return this.options.startToken ?? null;
  }

  get targetPositions(): number | null {
    return targetPositions(this.options);
  }

  get ctc(): CtcOptions | null {
    return this.options.ctc ?? null;
  }

  forward<B extends Batch>(batch: B, ctx: BatchContext, cache?: KvCache): Outputs<B> {
    const outputs = tidy((): Outputs => {
      const encoded = batch.encoder && this.#stack('encoder').forward(batch.encoder, ctx);
      const memory = encoded?.whole ?? null;
      if (cache && memory) {
        const handles = batch.encoder?.sequences.map((sequence) => sequence.cache) ?? [];
        this.#stack('decoder').remember(memory, handles, ctx, cache);
      }
      const decoded =
        batch.decoder && this.#stack('decoder').forward(batch.decoder, ctx, { cache, memory });
      return { encoder: encoded ?? null, decoder: decoded ?? null };
    });
    return outputs as Outputs<B>;
  }

  head(kind: HeadKind, hidden: Tensor, ctx: ForwardContext): Tensor {
    const { headScale, logitScale, logitSoftcap: cap } = this.options;
    const head = this.outputHeads.get(kind);
    if (!head) throw new DomainError('internal_error', `the model has no ${kind} head`);
    return tidy(() => {
      const made = head.forward(headScale === 1 ? hidden : mul(hidden, headScale), ctx);
      const scaled = logitScale === 1 ? made : mul(made, logitScale);
      const { logitBias: bias } = this.#parts;
      const logits = bias ? add(scaled, bias.tensor) : scaled;
      return cap === undefined ? logits : mul(tanh(div(logits, cap)), cap);
    });
  }

  withHead(run: number, request: HeadRequest, seed: number): Model {
    const { made, paths, modules, options, stacks } = this.#parts;
    const visible = modulesWith(made, paths, request.kind);
    const { poolers } = made;
    const head = makeHead(this, { ...request, options, paths, poolers, seed });
    modules.heads.set(run, head);
    const lacking = head.made.filter(({ role }) => role === 'pooler');
    // if the files do not contain the pooler, its norm is initialized with it
    const norms = lacking.length > 0 && head.norm ? [...visible.norms, head.norm] : visible.norms;
    const whole = modules.with({ linears: [...visible.linears, ...lacking], norms, tied: [] });
    const seen = optionsWith(options, paths, request.kind);
    const parts = { ...this.#parts, made: { ...made, lmHead: null } };
    if (seen === options) return new Transformer({ ...parts, modules: whole });
    const { encoder } = stacks;
    const outline = new Outline(options, paths, request);
    return new Transformer({
      ...parts,
      options: seen,
      stacks: { encoder, decoder: null },
      modules: whole.with({ ...within(whole, outline), stacks: [encoder as Stack] }),
    });
  }

  pool(hidden: Tensor, sequences: readonly Sequence[], ctx: BatchContext): Tensor | null {
    const { pooling } = this.#parts.made;
    if (!pooling) return null;
    const rows = runRows(sequences.map((one, start) => ({ ...one, start, length: 1 })));
    const head = new PoolingHead(this.options.encoder as StackOptions, pooling);
    return tidy(() => head.forward(hidden, sequences, { ...ctx, rows }));
  }

  cache(): KvCache {
    if (!this.outputHeads.has('lm'))
      throw new DomainError('unsupported', this.stacks.decoder ? NO_HEAD : SILENT, 'model');
    const stack = this.#stack('decoder');
    const { cachedLayers: layers, prefix, side, scaling } = stack;
    const { kvHeads, prefixHeads, headDim } = stack.shape;
    const headsOf = (run: number): number => (prefix.of(run) ? prefixHeads : kvHeads);
    const extraElementsOf = (run: number): number => {
      const prompts = [...(stack.attention.of(run)?.layers.values() ?? [])];
      const rows = prompts.reduce((sum, { prompt }) => sum + (prompt.shape[1] as number), 0);
      return stack.stateNumbers + 2 * rows * kvHeads * headDim;
    };
    const sideOf = (run: number) => side.of(run)?.cache;
    const passesOf = (run: number): number => (scaling.of(run) ? 2 : 1);
    const dtype = this.dtype;
    return new KvCache({ layers, headsOf, extraElementsOf, headDim, dtype, sideOf, passesOf });
  }

  dispose(): void {
    this.#parts.dispose();
  }

  #stack(kind: keyof Stacks): Stack {
    const stack = this.stacks[kind];
    if (stack) return stack;
    throw new DomainError(
      'internal_error',
      `a batch has rows for the ${kind}, which the model does not have`,
    );
  }
}
