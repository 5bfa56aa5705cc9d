/**
 * A stack of blocks (an encoder or a decoder) from token ids, embedded rows or front-end input to hidden
 * states. Model families differ by options, not by copies of this file.
 *   x ← tokenEmbedding(tokens), or frontEnd(images) [· scale] [input projection to D] [+ types] [+ positions] [norm]
 *   x ← x + o(attention(q(n), k(n), v(n)))     n = norm(x); q, k rotated or not; scores biased by distance or not
 *   x ← x + o(attention(q(n), k(m), v(m)))     n = norm(x), m: the encoder's hidden states; with cross-attention only
 *   x ← x + down(act(gate(n)) ⊙ up(n))         n = norm(x); or down(act(up(n)))
 *   h = norm(x)                                [output projection to the embedding's width]
 * A sublayer's output may be multiplied by λ [D]. Layers may share a block. Parallel blocks compute x ← x +
 * attention(norm(x)) + feed(norm'(x)), where norm' is norm or another. Other norm placements are x ← norm(x +
 * attention(x)), x ← x + norm(attention(x)), x ← x + norm'(attention(norm(x))) and so on. T rows of the batch
 * (including virtual tokens), D hidden size, H heads of size d, Hkv key heads, V vocabulary.
 */
import { add_, isGradEnabled, mul, narrow, tensor, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { isFeatures } from './batch.js';
import type { Features, PackedRows, Rows, VirtualRows, WholeRows } from './batch.js';
import type { BaseDtype } from './precision.js';
import type { AttentionPattern } from './layers/attention.js';
import { Blocks } from './blocks.js';
import type { Pass } from './blocks.js';
import type { BatchContext, ForwardContext } from './context.js';
import type { Embedding } from './layers/embedding.js';
import { embedFeatures } from './front-ends/registry.js';
import type { GatedPrompts } from './sites/gated-prompts.js';
import { activeRows } from './sites/invocation.js';
import type { Invocation } from './sites/invocation.js';
import { cachedLayers, cachedByConvolutions } from './kept-rows.js';
import type { KvCache } from './kv-cache.js';
import { LayerSum } from './layers/layer-sum.js';
import { PackedLayout } from './layout.js';
import type { Linear } from './layers/linear.js';
import type { Norm } from './layers/norm.js';
import type { StackModules } from './outline/description.js';
import { stackShape } from './outline/outline.js';
import type { StackShape } from './outline/outline.js';
import { PassBiases } from './layers/pass-biases.js';
import { rotaryCache } from './layers/rope.js';
import type { RopeOptions, RotaryCache, RowPlaces } from './layers/rope.js';
import { rowContext } from './rows.js';
import { openSides } from './sites/side-network.js';
import type { SideNetwork } from './sites/side-network.js';
import { scalingsOf } from './sites/scalings.js';
import type { Scaler } from './sites/scalings.js';
import { Slot } from './sites/slots.js';
import type { VirtualInputs, VirtualPrefix } from './sites/slots.js';
import type { StackOptions } from './outline/stack-options.js';
import { placesOf, realOf, takenApart, withVirtual } from './sites/virtual-rows.js';

/** Components of a stack. */
export interface StackParts {
  readonly kind: 'encoder' | 'decoder';
  readonly options: StackOptions;
  readonly modules: StackModules<Linear, Norm, Embedding>;
  /** Null if the stack reads no tokens. */
  readonly tokenEmbedding: Embedding | null;
  readonly dtype: BaseDtype;
  /** Module index of the virtual tokens, for dropout. */
  readonly virtualModule: number;
}

export class Stack {
  readonly kind: 'encoder' | 'decoder';
  readonly shape: StackShape;
  readonly inputs = new Slot<VirtualInputs>();
  readonly prefix = new Slot<VirtualPrefix>();
  readonly invocation = new Slot<Invocation>();
  readonly attention = new Slot<GatedPrompts>();
  readonly side = new Slot<SideNetwork>();
  readonly scaling = new Slot<Scaler>();
  readonly #parts: StackParts;
  readonly #options: StackOptions;
  readonly #blocks: Blocks;

  constructor(parts: StackParts) {
    this.#parts = parts;
    this.#options = parts.options;
    this.kind = parts.kind;
    this.shape = stackShape(parts.options);
    this.#blocks = new Blocks(parts.options, this.attention);
  }

  /** Number of layers with keys and values. */
  get cachedLayers(): number {
    return cachedLayers(this.#options, this.shape.layers);
  }

  /** Number of elements that convolution layers cache per sequence. */
  get stateNumbers(): number {
    return cachedByConvolutions(this.#options);
  }

  /** Computes the hidden states of the rows. */
  forward(
    packed: PackedRows,
    given: BatchContext,
    { cache, memory = null }: { cache?: KvCache | undefined; memory?: WholeRows | null } = {},
  ): Rows {
    const layout = new PackedLayout(packed, this, this.#options.attention, cache);
    const biases = new PassBiases();
    const recomputation = isGradEnabled() ? given.recomputation : undefined;
    const within = <T>(fn: () => T): T => (recomputation ? recomputation.hold(fn) : tidy(fn));
    let found: Rows;
    try {
      found = within(() => {
        const { rows } = layout;
        const active = activeRows(packed, rows, this.invocation, this.#parts.dtype);
        const scalings = scalingsOf(this, packed, given, this.#parts.virtualModule, cache);
        const ctx = { ...given, rows, sequences: packed.sequences, active, scalings };
        const pass = this.#open(layout, ctx, { cache, memory, biases });
        let x = this.#embed(packed, pass);
        const sides = openSides(this.side, packed, ctx, cache);
        const sum = ctx.layerSum ? new LayerSum(ctx.layerSum, ctx) : null;
        for (const [layer, block] of this.#parts.modules.blocks.entries()) {
          // autograd keeps what it needs of the previous layer; the handle is not needed
          const before = x;
          sum?.add(layer, before);
          x = tidy(() => {
            const read = sides?.before(layer, before) ?? before;
            const through = (x: Tensor) => this.#blocks.forward(block, layer, x, pass);
            return recomputation?.through(read, through) ?? through(read);
          });
          before.dispose();
          sides?.after(layer, x);
          ctx.onLayer?.();
        }
        const last = this.#finish(x, pass);
        const read = sum ? this.#summed(last, x, sum) : last;
        return { ...read, ...(sides && { auxiliary: sides.auxiliary }) };
      });
    } finally {
      if (recomputation) recomputation.atEnd(() => biases.dispose());
      else biases.dispose();
    }
    for (const segment of cache ? layout.segments : []) {
      const shared = segment.shared < 0 ? 0 : (layout.segments[segment.shared]?.rows ?? 0);
      if (segment.cache !== null)
        cache?.advance(segment.cache, segment.prefix + shared + segment.rows);
    }
    return found;
  }

  /** Stores the encoder's keys and values of all blocks in the cache, under the handles of its sequences. */
  remember(
    memory: WholeRows,
    handles: readonly (number | undefined)[],
    given: BatchContext,
    cache: KvCache,
  ): void {
    tidy(() => {
      for (const { cross } of this.#parts.modules.blocks) {
        if (!cross) continue;
        const { k, v } = this.#blocks.memoryKeys(cross, memory, given);
        memory.sequences.forEach(({ start, length }, i) => {
          const handle = handles[i];
          const rows = (t: Tensor): Tensor => narrow(t, 0, start, length);
          if (handle !== undefined) cache.remember(handle, { k: rows(k), v: rows(v) });
        });
      }
    });
  }

  #open(
    layout: PackedLayout,
    ctx: ForwardContext,
    { cache, memory, biases }: Pick<Pass, 'cache' | 'memory'> & { biases: PassBiases },
  ): Pass {
    const { virtualModule } = this.#parts;
    const prefixes = new Map(
      layout.rows.flatMap(({ run }) => {
        const opened = this.prefix.of(run)?.open(rowContext(ctx, run, virtualModule));
        return opened ? [[run, opened] as const] : [];
      }),
    );
    return {
      layout,
      ctx,
      rotary: this.#rotaries(layout),
      bias: this.#biased(biases, layout),
      prefix: (layer) => (run) => prefixes.get(run)?.(layer),
      cache,
      memory,
    };
  }

  #rotaries(places: RowPlaces): Pass['rotary'] {
    const { rope = null, layerRopes, layers, headDim, rotaryDim = headDim } = this.#options;
    const made = new Map<string, RotaryCache>();
    const cacheOf = (options: RopeOptions | null): RotaryCache | null => {
      if (!options) return null;
      const key = JSON.stringify(options);
      const cache = made.get(key) ?? rotaryCache(options, rotaryDim, places, this.#parts.dtype);
      made.set(key, cache);
      return cache;
    };
    return layerRopes?.map(cacheOf) ?? new Array<RotaryCache | null>(layers).fill(cacheOf(rope));
  }

  #biased(biases: PassBiases, layout: PackedLayout): AttentionPattern['bias'] {
    const { bias } = this.#options;
    if (!bias) return undefined;
    const hasVirtual = (run: number): boolean => !!(this.inputs.of(run) ?? this.prefix.of(run));
    const { options, modules } = this.#parts;
    const places = layout.furthest + 1;
    return biases.pattern(bias, { options, table: modules.bias, places, hasVirtual });
  }

  /** Returns the input of the first block. */
  #embed(packed: PackedRows, pass: Pass): Tensor {
    const { embeddingNorm: norm, projectIn } = this.#parts.modules;
    return tidy(() => {
      const x = this.#embedded(packed, pass);
      const normed = norm ? norm.forward(x, pass.ctx) : x;
      return this.#options.projectionInput === 'embedded' && projectIn
        ? projectIn.forward(normed, pass.ctx)
        : normed;
    });
  }

  /** Embeddings [T, D], virtual rows before real rows. */
  #embedded(packed: PackedRows, { layout, ctx }: Pass): Tensor {
    const { inputScale, positionOffset, projectionInput } = this.#options;
    const { modules } = this.#parts;
    return tidy(() => {
      const real = this.#real(packed, { ...ctx, rows: layout.realRows });
      const all = layout.hasVirtual ? this.#withVirtual(real, layout, ctx) : real;
      const scaled = inputScale === 1 ? all : mul(all, inputScale);
      const projected =
        projectionInput === 'tokens' ? (modules.projectIn?.forward(scaled, ctx) ?? scaled) : scaled;
      const x = modules.tokenTypes
        ? add_(this.#typed(modules.tokenTypes, layout, ctx), projected)
        : projected;
      if (!modules.positions) return x;
      const { positions, furthest } = layout;
      if (furthest >= this.shape.maxPositions) {
        const message = `position ${furthest} (virtual tokens included) exceeds the model's ${this.shape.maxPositions}; shorten the input`;
        throw new DomainError('invalid_value', message, 'graft.max_seq_len');
      }
      const places = positions.map((position) => positionOffset + position);
      const learned = modules.positions.forward(tensor(places, [places.length]), ctx);
      return add_(learned, x);
    });
  }

  /** Embeddings of the real rows. */
  #real({ inputs, sequences }: PackedRows, ctx: ForwardContext): Tensor {
    const { dtype, tokenEmbedding } = this.#parts;
    if (isFeatures(inputs)) return this.#fromFeatures(inputs, sequences, ctx);
    if (!(inputs instanceof Int32Array)) return to(inputs, dtype);
    if (!tokenEmbedding)
      throw new DomainError('internal_error', 'batch: the model reads no tokens');
    return tokenEmbedding.forward(tensor(inputs, [inputs.length]), ctx);
  }

  #fromFeatures(
    { features, hidden }: Features,
    sequences: PackedRows['sequences'],
    ctx: ForwardContext,
  ): Tensor {
    const { dtype, modules, options } = this.#parts;
    if (!modules.frontEnd || !options.frontEnd)
      throw new DomainError('internal_error', 'batch: the model has no front end');
    for (const [i, { length }] of sequences.entries()) {
      const rows = this.shape.inputRows(features[i]?.shape ?? []);
      if (rows === length) continue;
      const message = `batch: sequence ${i} has ${length} rows, its input makes ${rows}`;
      throw new DomainError('internal_error', message);
    }
    const given = { features, sequences, hidden, dtype };
    return embedFeatures(options.frontEnd, modules.frontEnd, given, ctx);
  }

  #typed(table: Embedding, { types }: PackedLayout, ctx: ForwardContext): Tensor {
    const last = (table.shape[0] as number) - 1;
    const known = types.map((type) => Math.min(type, last));
    return table.forward(tensor(known, [known.length]), ctx);
  }

  #withVirtual(real: Tensor, layout: PackedLayout, ctx: ForwardContext): Tensor {
    const { dtype, virtualModule } = this.#parts;
    return withVirtual(real, layout, (run, taskId) => {
      const given = this.inputs.of(run) as VirtualInputs;
      return to(given.embeddings(rowContext(ctx, run, virtualModule), taskId), dtype);
    });
  }

  #finish(x: Tensor, { layout, ctx }: Pass): Rows {
    if (!layout.hasVirtual || !layout.sharesVirtual) {
      const all = this.#normed(x, ctx);
      const whole = {
        hidden: all,
        rows: layout.rows,
        sequences: placesOf(layout, ctx.sequences ?? []),
      };
      return { hidden: realOf(all, layout), virtual: new Map(), whole };
    }
    const { real, virtual } = takenApart(x, layout, this.inputs);
    const normed = [...virtual].map(([run, rows]): [number, VirtualRows] => {
      const length = rows.hidden.shape[0] as number;
      const here = { ...ctx, rows: [{ run, start: 0, length }] };
      return [run, { ...rows, hidden: this.#normed(rows.hidden, here) }];
    });
    const hidden = this.#normed(real, { ...ctx, rows: layout.realRows });
    return {
      hidden,
      virtual: new Map(normed),
      whole: { hidden, rows: layout.realRows, sequences: [] },
    };
  }

  /** Replaces the hidden states by the weighted sum of all layers. Only for stacks without virtual rows. */
  #summed({ hidden, whole, virtual }: Rows, made: Tensor, sum: LayerSum): Rows {
    const total = sum.total(this.shape.layers, made, hidden);
    return { hidden: total, virtual, whole: { ...whole, hidden: total } };
  }

  #normed(x: Tensor, ctx: ForwardContext): Tensor {
    const { finalNorm, projectOut } = this.#parts.modules;
    const normed = finalNorm?.forward(x, ctx) ?? x;
    return projectOut?.forward(normed, ctx) ?? normed;
  }
}
