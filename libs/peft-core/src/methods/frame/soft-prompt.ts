/**
 * Frame of the methods that train virtual tokens. A method computes their table; the frame handles sizes, the place in
 * the model, files, loading and detaching.
 *   table = table(parts)    [p, columns]; files store the computed table
 */
import { copy_, keep, narrow, noGrad, split, tidy, to, view } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { PromptTarget } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import type { RowContext } from '../../nn/context.js';
import type { ModelShape } from '../../nn/outline/outline.js';
import { defineMethod } from '../method.js';
import type { AttachContext, Method, NamedTensors } from '../method.js';
import { f32Copy, parameter, placed, sizeOf } from './parameters.js';
import type { PartShapes } from './parameters.js';

/** PEFT's name of the table in adapter files. */
export const TABLE = 'prompt_embeddings';

/** Fields that PEFT resolves from the model and writes to the file. */
interface Resolved {
  readonly num_layers: number;
  readonly token_dim: number;
  readonly num_attention_heads: number;
  readonly num_transformer_submodules: number;
}

export type SoftPromptFields = { readonly num_virtual_tokens: number | null } & Readonly<
  Record<keyof Resolved, number | null>
>;

/** Place of a table in the model. */
export interface Place {
  readonly kind: 'inputs' | 'prefix';
  /** Returns why a model does not have this place; null if it does. */
  lacking?(model: ModelShape): string | null;
  resolved(model: ModelShape): Resolved;
  /** Returns the number of table rows for p virtual tokens. */
  rows(model: ModelShape, p: number): number;
  /** Returns the number of elements of a virtual token. */
  columns(model: ModelShape): number;
  attach(model: Model, run: number, prompt: Prompt): void;
}

/** Virtual tokens that a run attaches. */
interface Prompt {
  /** Number of virtual tokens, p. */
  readonly length: number;
  table(ctx: RowContext, taskId: number): Tensor;
  readonly promptTargets: readonly PromptTarget[];
  /** Number of prompts, one per task; undefined if all tasks share one. */
  readonly tasks: number | undefined;
}

/**
 * Rows before the first block of the stack that reads the input. In encoder-decoder models PEFT's table also has rows
 * for the decoder, which PEFT never uses; they are kept for compatibility with its files.
 */
export const INPUTS: Place = {
  kind: 'inputs',
  resolved: (model) => ({
    num_layers: model.layers,
    token_dim: model.embeddingSize,
    num_attention_heads: model.heads,
    num_transformer_submodules: model.stackCount,
  }),
  rows: ({ stackCount }, p) => stackCount * p,
  columns: ({ embeddingSize }) => embeddingSize,
  attach: (model, run, { length, table, promptTargets, tasks }) =>
    model.modules.inputs.attach(run, {
      length,
      promptTargets,
      ...(tasks !== undefined && { tasks }),
      embeddings(ctx, taskId) {
        const all = table(ctx, taskId);
        return model.stackCount === 1 ? all : narrow(all, 0, 0, length);
      },
    }),
};

/** Returns the size of a prefix's keys in one layer, which is also that of its values. */
export const keySize = ({ prefixHeads, headDim }: ModelShape): number => prefixHeads * headDim;

/**
 * Keys and values before those of every layer. Column ((2 layer + kv) · heads + head) · size + i; kv 0 is the key. Keys
 * are not rotated. In an encoder-decoder model with L encoder layers, layer i of the decoder takes the pair 2i mod L:
 * PEFT splits its list of pairs into groups of four, two of them for cross-attention, which it then discards.
 */
export const PREFIX: Place = {
  kind: 'prefix',
  lacking: ({ layers, attendingLayers, allLayersAttend }) => {
    if (!allLayersAttend)
      return 'bases with layers without attention, which have no keys and values';
    return attendingLayers <= layers
      ? null
      : `bases whose decoder has more layers (${attendingLayers}) than the encoder (${layers}): PEFT's file has no keys and values for the others`;
  },
  resolved: (model) => ({
    ...INPUTS.resolved(model),
    token_dim: keySize(model),
    num_attention_heads: model.prefixHeads,
  }),
  rows: (_, p) => p,
  columns: (model) => 2 * model.layers * keySize(model),
  attach: (model, run, { length, table }) =>
    model.modules.prefix.attach(run, {
      length,
      open(ctx) {
        const parts = split(to(table(ctx, 0), model.dtype), keySize(model), 1);
        const heads = (part: number): Tensor =>
          view(parts[part] as Tensor, [length, model.prefixHeads, model.headDim]);
        const pair = (layer: number): number =>
          model.stackCount === 1 ? layer : (2 * layer) % model.layers;
        return (layer) => ({ k: heads(2 * pair(layer)), v: heads(2 * pair(layer) + 1) });
      },
    }),
};

/** Facts that options must fit. */
interface Given {
  /** Vocabulary size: all token ids are smaller. */
  readonly vocabulary: number;
  /** Whether the job continues from an adapter's file, if known. */
  readonly warmStart: boolean;
}

/** Returns a part by its name. */
export type PartOf = (name: string) => Tensor;

type Framed = 'footprint' | 'attach' | 'attaching' | 'tensors' | 'virtual';

export interface SoftPromptMethod<O extends SoftPromptFields>
  extends Omit<Method<O>, Framed>, Partial<Pick<Method<O>, 'tensors'>> {
  readonly place: Place;
  /** Returns the number of virtual tokens. The default is `num_virtual_tokens`. */
  length?(options: O): number;
  /** Rejects options that do not fit the model or the initialization. @throws DomainError */
  fits?(options: O, given: Given): void;
  /** Returns the shapes of the parts to train without an initial adapter, by PEFT's names. */
  shapes(options: O, model: ModelShape): PartShapes;
  /** Returns the shapes of frozen parts of the table. */
  frozen?(options: O, model: ModelShape): PartShapes;
  /** Returns the initial values of a part. */
  start(name: string, shape: readonly number[], setup: Setup<O>): Tensor;
  /** Computes the table [p, columns] from the parts; for one task if parts depend on the task. */
  table(part: PartOf, setup: Setup<O>, ctx: RowContext, taskId: number): Tensor;
  /**
   * Returns the parts from a file's tensors. The default is to train its table directly, under PEFT's name. Checkpoints
   * use these names as keys.
   */
  begin?(stored: PartOf, setup: Setup<O>): Readonly<Record<string, Tensor>>;
  /** Tensors and shapes of files, if they are not the computed table; -1 means any size. */
  readonly file?: {
    shapes(options: O, model: ModelShape): PartShapes;
    parts(part: PartOf): Readonly<Record<string, Tensor>>;
  };
  /** Returns the virtual tokens that are also targets of the loss. The default is none. */
  promptTargets?(options: O): readonly PromptTarget[];
  /** Called after each optimizer step. */
  afterStep?(part: PartOf, setup: Setup<O>): void;
  /** Returns the adapter_config.json fields that PEFT resolves for this method. */
  resolved?(options: O, model: ModelShape): Partial<O>;
}

/** Inputs from which a method computes its table. */
export interface Setup<O> extends AttachContext {
  readonly model: Model;
  readonly options: O;
}

const AT_REST: RowContext = {
  training: false,
  key: { seed: 0, step: 0 },
  module: 0,
  active: null,
  scalings: null,
  tasks: () => [],
  alone: true,
};

export function softPrompt<O extends SoftPromptFields>(method: SoftPromptMethod<O>): Method<O> {
  const { place } = method;
  const lengthOf = (options: O): number =>
    method.length?.(options) ?? (options.num_virtual_tokens as number);
  const check = (options: O, model: ModelShape, given: Given): void => {
    checkPlace(method, model);
    checkSizes(options, place.resolved(model));
    checkPositions(
      place.kind === 'inputs' ? model.fixedRopePositions : model.maxPositions,
      lengthOf(options),
    );
    method.fits?.(options, given);
  };
  return defineMethod<O>({
    ...method,
    virtual: place.kind,
    unmerged: "virtual tokens are not part of the base's weights",
    tensors: { [TABLE]: 'prompt', ...method.tensors },
    footprint(outline, options, { warmStart }) {
      check(options, outline, { vocabulary: outline.tokenEmbedding?.rows ?? 0, warmStart });
      const virtualTokens = lengthOf(options);
      const isFlat = warmStart && !method.begin;
      const shapes = isFlat
        ? { [TABLE]: [place.rows(outline, virtualTokens), place.columns(outline)] }
        : method.shapes(options, outline);
      const frozen = sizeOf(method.frozen?.(options, outline) ?? {});
      return {
        trainableParameters: sizeOf(shapes),
        virtualTokens,
        ...(method.tasks && { prompts: method.tasks(options) }),
        ...(frozen > 0 && { held: { numbers: frozen } }),
      };
    },
    attach(model, options, init) {
      check(options, model, { vocabulary: model.vocabSize, warmStart: true });
      const length = lengthOf(options);
      const setup: Setup<O> = { ...init, model, options };
      const parts = new Parts(method, setup);
      const table = (ctx: RowContext, taskId = 0): Tensor =>
        parts.trained.get(TABLE) ?? method.table(parts.get, setup, ctx, taskId);
      place.attach(model, init.run, {
        length,
        table,
        promptTargets: method.promptTargets?.(options) ?? [],
        tasks: method.tasks?.(options),
      });
      return {
        get parameters() {
          return parts.trained;
        },
        exported: () =>
          noGrad(
            () =>
              new Map(Object.entries(method.file?.parts(parts.get) ?? { [TABLE]: table(AT_REST) })),
          ),
        load(stored) {
          const flat = { [TABLE]: [place.rows(model, length), place.columns(model)] };
          checkStored(stored, method.file?.shapes(options, model) ?? flat);
          parts.begin(stored);
        },
        ...(method.afterStep && { afterStep: () => method.afterStep?.(parts.get, setup) }),
        resolvedConfig: () => ({
          ...options,
          ...place.resolved(model),
          ...method.resolved?.(options, model),
          ...method.unsupported,
        }),
        detach() {
          model.modules.detach(init.run);
          parts.dispose();
        },
      };
    },
  });
}

/** Tensors of a run from which its table is computed, by PEFT's names. */
class Parts<O extends SoftPromptFields> {
  trained: ReadonlyMap<string, Tensor>;
  readonly #frozen: ReadonlyMap<string, Tensor>;

  constructor(
    private readonly method: SoftPromptMethod<O>,
    private readonly setup: Setup<O>,
  ) {
    const { options, model } = setup;
    this.trained = this.#started(method.shapes(options, model), parameter);
    this.#frozen = this.#started(method.frozen?.(options, model) ?? {}, (values) =>
      keep(f32Copy(values)),
    );
  }

  readonly get: PartOf = (name) => (this.#frozen.get(name) ?? this.trained.get(name)) as Tensor;

  /** Continues from the tensors of a file. */
  begin(stored: NamedTensors): void {
    const of = (name: string): Tensor => stored.get(name) as Tensor;
    const initial = this.method.begin?.(of, this.setup) ?? { [TABLE]: of(TABLE) };
    const trained = Object.entries(initial).filter(([name]) => !this.#frozen.has(name));
    noGrad(() =>
      this.#frozen.forEach((values, name) => copy_(values, placed(initial[name] as Tensor))),
    );
    this.#disposeTrained();
    this.trained = new Map(trained.map(([name, values]) => [name, parameter(values)]));
  }

  dispose(): void {
    this.#disposeTrained();
    this.#frozen.forEach((values) => values.dispose());
  }

  #disposeTrained(): void {
    this.trained.forEach((values) => values.dispose());
  }

  #started(shapes: PartShapes, made: (values: Tensor) => Tensor): Map<string, Tensor> {
    return new Map(
      Object.entries(shapes).map(([name, shape]) => [
        name,
        tidy(() => made(this.method.start(name, shape, this.setup))),
      ]),
    );
  }
}

/** Rejects a model without a place for the table. @throws DomainError */
function checkPlace({ name, place }: { name: string; place: Place }, model: ModelShape): void {
  const lacking = model.inputKind === 'tokens' ? (place.lacking?.(model) ?? null) : UNREAD;
  if (lacking === null) return;
  const message = `${name} does not support ${lacking}; choose another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}

/** Message for models without token embeddings. PEFT looks for the embedding of tokens only. */
const UNREAD = 'bases that read images or audio: virtual tokens are inserted between tokens';

/** Rejects a config whose sizes differ from the model's. @throws DomainError */
function checkSizes(given: Readonly<Record<keyof Resolved, number | null>>, sizes: Resolved): void {
  for (const name of Object.keys(sizes) as (keyof Resolved)[]) {
    const value = given[name];
    if (value !== null && value !== sizes[name]) {
      const advice = `${name} is ${value}, but the model's is ${sizes[name]}; leave it out`;
      throw new DomainError('invalid_value', advice, `peft.${name}`);
    }
  }
}

/** Rejects virtual tokens that leave no positions for real tokens. @throws DomainError */
function checkPositions(positions: number, virtualTokens: number): void {
  if (virtualTokens < positions) return;
  const advice = `${virtualTokens} virtual tokens leave no positions for input: the model has ${positions}`;
  throw new DomainError('invalid_value', advice, 'peft.num_virtual_tokens');
}

/** Rejects a file whose tensors or shapes differ from the expected ones; -1 means any size. @throws DomainError */
function checkStored(stored: NamedTensors, shapes: PartShapes): void {
  const names = Object.keys(shapes);
  if ([...stored.keys()].sort().join() !== [...names].sort().join()) {
    const found = [...stored.keys()].slice(0, 5).join(', ') || 'nothing';
    const message = `the adapter must contain only ${names.join(', ')}; found ${found}`;
    throw new DomainError('invalid_adapter', message);
  }
  for (const [name, wanted] of Object.entries(shapes)) {
    const { shape } = stored.get(name) as Tensor;
    const fits = (size: number, i: number): boolean => size === -1 || size === shape[i];
    if (shape.length === wanted.length && wanted.every(fits)) continue;
    const [got, want] = [shape, wanted.map((size) => (size === -1 ? 'any' : size))].map((each) =>
      each.join(', '),
    );
    const message = `the adapter's ${name} has shape [${got}], expected [${want}]`;
    throw new DomainError('invalid_adapter', message);
  }
}
