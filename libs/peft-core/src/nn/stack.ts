/**
 * A stack of blocks, from token ids, embedded rows or what a front end reads to hidden states: an encoder or a decoder. Families differ by
 * options, not by copies of this file.
 *
 *   x ← tokenEmbedding(tokens), or frontEnd(pictures) [· scale] [led in to D] [+ types] [+ positions] [normed]
 *   x ← x + o(attention(q(n), k(n), v(n)))     n = norm(x); q, k rotated or not; scores biased by distance or not
 *   x ← x + o(attention(q(n), k(m), v(m)))     n = norm(x), m: the encoder's hidden states; where it attends to one
 *   x ← x + down(act(gate(n)) ⊙ up(n))         n = norm(x); or down(act(up(n)))
 *   h = norm(x)                                [led out to the embedding's width]
 *
 * What a part made may be multiplied by λ [D]. Layers may share a block. Or, in parallel, x ← x + attention(norm(x)) + feed(norm'(x)), norm' being norm or another; or, norms elsewhere, x ← norm(x + attention(x)),
 * x ← x + norm(attention(x)), x ← x + norm'(attention(norm(x))) and so on.
 * T rows of the batch (virtual tokens included), D hidden size, H heads of size d, Hkv key heads, V vocabulary.
 */
import {
  add_,
  clamp,
  isGradEnabled,
  mul,
  narrow,
  reshape,
  split,
  tensor,
  tidy,
  to,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { isFeatures } from './batch.js';
import type { Features, PackedRows, Rows, VirtualRows, WholeRows } from './batch.js';
import type { BaseDtype } from './precision.js';
import { crossAttention, nextRows, selfAttention } from './layers/attention.js';
import type { AttentionPattern, KeysValues } from './layers/attention.js';
import type { BatchContext, ForwardContext } from './context.js';
import { convolve } from './layers/convolution.js';
import type { Convolving } from './layers/convolution.js';
import type { Embedding } from './layers/embedding.js';
import { embedFeatures, frontEndRows, hasClassToken, inputKindOf } from './front-ends/registry.js';
import type { InputKind } from './front-ends/registry.js';
import { feedForward } from './layers/feed-forward.js';
import { withGatedPrompts } from './sites/gated-prompts.js';
import type { GatedPrompts } from './sites/gated-prompts.js';
import { activeRows } from './sites/invocation.js';
import type { Invocation } from './sites/invocation.js';
import { keptLayers, keptOfConvolutions } from './kept-rows.js';
import type { KvCache } from './kv-cache.js';
import { layerScaled } from './layers/layer-scale.js';
import { LayerSum } from './layers/layer-sum.js';
import { PackedLayout } from './layout.js';
import { Linear } from './layers/linear.js';
import type { Norm } from './layers/norm.js';
import type { AttentionModules, Block, StackModules } from './outline/description.js';
import type { StackShape } from './outline/outline.js';
import { PassBiases } from './layers/pass-biases.js';
import { applyRotary, rotaryCache } from './layers/rope.js';
import type { RopeOptions, RotaryCache, RowPlaces } from './layers/rope.js';
import { rowContext } from './rows.js';
import { openSides } from './sites/side-network.js';
import type { SideNetwork } from './sites/side-network.js';
import { scalingsOf } from './sites/scalings.js';
import type { Scaler } from './sites/scalings.js';
import { Slot } from './sites/slots.js';
import type { VirtualInputs, VirtualPrefix } from './sites/slots.js';
import { alikeIn } from './outline/stack-options.js';
import type { StackOptions } from './outline/stack-options.js';
import { placesOf, realOf, takenApart, withVirtual } from './sites/virtual-rows.js';

/** What a stack is made of. */
export interface StackParts {
  readonly kind: 'encoder' | 'decoder';
  readonly options: StackOptions;
  readonly modules: StackModules<Linear, Norm, Embedding>;
  /** Null where it reads no tokens. */
  readonly tokenEmbedding: Embedding | null;
  readonly dtype: BaseDtype;
  /** Number of the module that virtual tokens are, for dropout. */
  readonly virtualModule: number;
}

/** A part of a block. */
interface Normed {
  readonly norm: Norm | null;
  readonly normAfter: Norm | null;
}

/** One forward: what all layers share. */
interface Pass {
  readonly layout: PackedLayout;
  readonly ctx: ForwardContext;
  /** By layer. */
  readonly rotary: readonly (RotaryCache | null)[];
  readonly bias: AttentionPattern['bias'];
  readonly prefix: (layer: number) => (run: number) => KeysValues | undefined;
  readonly cache: KvCache | undefined;
  readonly memory: WholeRows | null;
}

export class Stack implements StackShape {
  readonly kind: 'encoder' | 'decoder';
  readonly inputs = new Slot<VirtualInputs>();
  readonly prefix = new Slot<VirtualPrefix>();
  readonly invocation = new Slot<Invocation>();
  readonly attention = new Slot<GatedPrompts>();
  readonly side = new Slot<SideNetwork>();
  readonly scaling = new Slot<Scaler>();
  readonly #parts: StackParts;
  readonly #options: StackOptions;

  constructor(parts: StackParts) {
    this.#parts = parts;
    this.#options = parts.options;
    this.kind = parts.kind;
  }

  get layers(): number {
    return this.#options.layers;
  }

  get hiddenSize(): number {
    return this.#options.hiddenSize;
  }

  get embeddingSize(): number {
    return this.#options.embeddingSize ?? this.hiddenSize;
  }

  /** How many layers have keys and values. */
  get keptLayers(): number {
    return keptLayers(this.#options, this.layers);
  }

  get attendsThroughout(): boolean {
    return this.keptLayers === this.layers;
  }

  /** Numbers that layers that convolve keep of a sequence. */
  get stateNumbers(): number {
    return keptOfConvolutions(this.#options);
  }

  get heads(): number {
    return this.#options.heads;
  }

  get kvHeads(): number {
    return this.#options.kvHeads;
  }

  get prefixHeads(): number {
    return this.#options.prefixHeads ?? this.kvHeads;
  }

  get headDim(): number {
    return this.#options.headDim;
  }

  get maxPositions(): number {
    return this.#options.maxPositions;
  }

  get alikePositions(): number {
    return alikeIn(this.#options);
  }

  get hasClassToken(): boolean {
    return hasClassToken(this.#options.frontEnd);
  }

  get inputKind(): InputKind {
    return inputKindOf(this.#options.frontEnd);
  }

  inputRows(shape: readonly number[]): number {
    const { frontEnd } = this.#options;
    return frontEnd ? frontEndRows(frontEnd, shape) : (shape[0] as number);
  }

  get defaultMaxSeqLen(): number | undefined {
    return this.#options.defaultMaxSeqLen;
  }

  /** Hidden states of the rows. */
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
          // autograd keeps what it needs of the layer before; the handle need not
          const before = x;
          sum?.add(layer, before);
          x = tidy(() => {
            const read = sides?.before(layer, before) ?? before;
            const through = (x: Tensor) => this.#block(block, layer, x, this.#at(layer, pass));
            return recomputation?.through(read, through) ?? through(read);
          });
          before.dispose();
          sides?.after(layer, x);
          ctx.onLayer?.();
        }
        const last = this.#finish(x, pass);
        const read = sum ? this.#summed(last, x, sum) : last;
        return { ...read, ...(sides && { taught: sides.taught }) };
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

  /** Puts what all blocks see of an encoder's rows into the cache, under the handles of its sequences. */
  remember(
    memory: WholeRows,
    handles: readonly (number | undefined)[],
    given: BatchContext,
    cache: KvCache,
  ): void {
    tidy(() => {
      for (const { cross } of this.#parts.modules.blocks) {
        if (!cross) continue;
        const { k, v } = this.#memoryKeys(cross, memory, given);
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

  /** What the first block reads. */
  #embed(packed: PackedRows, pass: Pass): Tensor {
    const { embeddingNorm: norm, projectIn } = this.#parts.modules;
    return tidy(() => {
      const x = this.#embedded(packed, pass);
      const normed = norm ? norm.forward(x, pass.ctx) : x;
      return this.#options.ledIn === 'embedded' && projectIn
        ? projectIn.forward(normed, pass.ctx)
        : normed;
    });
  }

  /** Embeddings [T, D], virtual rows before real ones. */
  #embedded(packed: PackedRows, { layout, ctx }: Pass): Tensor {
    const { inputScale, positionOffset, ledIn } = this.#options;
    const { modules } = this.#parts;
    return tidy(() => {
      const real = this.#real(packed, { ...ctx, rows: layout.realRows });
      const all = layout.hasVirtual ? this.#withVirtual(real, layout, ctx) : real;
      const scaled = inputScale === 1 ? all : mul(all, inputScale);
      const led = ledIn === 'tokens' ? (modules.projectIn?.forward(scaled, ctx) ?? scaled) : scaled;
      const x = modules.tokenTypes ? add_(this.#typed(modules.tokenTypes, layout, ctx), led) : led;
      if (!modules.positions) return x;
      const { positions, furthest } = layout;
      if (furthest >= this.maxPositions) {
        const message = `position ${furthest} (virtual tokens included) exceeds the model's ${this.maxPositions}; shorten the input`;
        throw new DomainError('invalid_value', message, 'graft.max_seq_len');
      }
      const places = positions.map((position) => positionOffset + position);
      const learned = modules.positions.forward(tensor(places, [places.length]), ctx);
      return add_(learned, x);
    });
  }

  /** Of the rows that are no virtual ones. */
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
      throw new DomainError('internal_error', 'batch: the model reads tokens alone');
    for (const [i, { length }] of sequences.entries()) {
      const rows = this.inputRows(features[i]?.shape ?? []);
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

  /** A block that layers share has randomness of its own in each. */
  #at(layer: number, pass: Pass): Pass {
    const { blocks } = this.#options;
    const repeat = blocks ? blocks.indexOf(blocks[layer] as string) : layer;
    return repeat === layer ? pass : { ...pass, ctx: { ...pass.ctx, repeat: layer } };
  }

  #block(block: Block<Linear, Norm, Embedding>, layer: number, x: Tensor, pass: Pass): Tensor {
    const { attention, convolution, cross, feedForward, scales } = block;
    if (attention && this.#options.parallelResidual) {
      const n = this.#read(attention.norm, x, pass);
      const attended = this.#attend(attention, layer, n, pass);
      const fed = this.#options.sharedNorm ? n : this.#read(feedForward.norm, x, pass);
      return add_(add_(this.#feed(feedForward, fed, pass), attended), x);
    }
    const middle = tidy(() => {
      const part = (attention ?? convolution) as Normed;
      const n = this.#read(part.norm, x, pass);
      const made = attention
        ? this.#attend(attention, layer, n, pass)
        : convolve(convolution as Convolving, n, { ...pass, layer });
      return this.#added(part, scales ? layerScaled(scales[0], made, pass.ctx) : made, x, pass);
    });
    const informed = cross
      ? tidy(() => this.#added(cross, this.#attendAcross(cross, layer, middle, pass), middle, pass))
      : middle;
    return tidy(() => {
      const n = this.#read(feedForward.norm, informed, pass);
      const made = this.#feed(feedForward, n, pass);
      const scaled = scales ? layerScaled(scales[1], made, pass.ctx) : made;
      return this.#added(feedForward, scaled, informed, pass);
    });
  }

  /** What a part reads of the residual x. */
  #read(norm: Norm | null, x: Tensor, { ctx }: Pass): Tensor {
    const { normPlace } = this.#options;
    return norm && (normPlace === 'pre' || normPlace === 'around') ? norm.forward(x, ctx) : x;
  }

  /** The residual with what a part made of it. */
  #added({ norm, normAfter }: Normed, output: Tensor, x: Tensor, { ctx }: Pass): Tensor {
    const { normPlace, residualScale } = this.#options;
    const made = residualScale === 1 ? output : mul(output, residualScale);
    switch (normPlace) {
      case 'pre':
        return add_(made, x);
      case 'post':
        return (norm as Norm).forward(add_(made, x), ctx);
      case 'made':
        return add_((norm as Norm).forward(made, ctx), x);
      case 'around':
        return add_((normAfter as Norm).forward(made, ctx), x);
    }
  }

  #attend(modules: AttentionModules<Linear, Norm>, layer: number, n: Tensor, pass: Pass): Tensor {
    const { ctx, layout, cache } = pass;
    const rotary = pass.rotary[layer] ?? null;
    const [q, k, v] = this.#projected(modules.qkv, n, ctx);
    const normed = {
      q: this.#qkNormed(modules.qNorm, q, ctx),
      k: this.#qkNormed(modules.kNorm, k, ctx),
    };
    const pattern = this.#pattern(layer, pass);
    const around = { layout, kept: this.#kept(layer), prefix: pass.prefix(layer), cache };
    const hasPrompts = ctx.rows.some(({ run }) => this.attention.of(run));
    const next = hasPrompts
      ? null
      : nextRows(normed.q, { k: normed.k, v }, rotary, pattern, around);
    if (next) return modules.o.forward(next, ctx);
    const positioned = (x: Tensor): Tensor => (rotary ? applyRotary(x, rotary) : x);
    const keys = positioned(normed.k);
    const queries = positioned(normed.q);
    const output = selfAttention(queries, { k: keys, v }, pattern, around);
    return withGatedPrompts(modules.o.forward(output, ctx), queries, this.attention, layer, ctx, {
      qkv: (rows, bare) => this.#projected(modules.qkv, rows, bare),
      output: (rows, bare) => modules.o.forward(rows, bare),
      cache,
    });
  }

  /** How many of the layers before one have keys and values: its number in the cache. */
  #kept(layer: number): number {
    return keptLayers(this.#options, layer);
  }

  #pattern(layer: number, { bias }: Pass): AttentionPattern {
    const { windows, attention, attentionSoftcap: softcap = null } = this.#options;
    const causal = attention === 'causal';
    const window = windows?.[layer] ?? null;
    return { scale: this.#scale(layer), causal, window, softcap, ...(bias && { bias }) };
  }

  #scale(layer: number): number {
    const { headDim, attentionScale = 1 / Math.sqrt(headDim), scaleByLayer } = this.#options;
    return attentionScale / (scaleByLayer ? layer + 1 : 1);
  }

  #attendAcross(
    modules: AttentionModules<Linear, Norm>,
    layer: number,
    x: Tensor,
    pass: Pass,
  ): Tensor {
    const { heads, headDim } = this.#options;
    const { ctx, layout, cache, memory } = pass;
    const n = this.#read(modules.norm, x, pass);
    const [toQ] = modules.qkv;
    const q = view(toQ.forward(n, ctx), [x.shape[0] as number, heads, headDim]);
    const keys = memory && !cache ? this.#memoryKeys(modules, memory, ctx) : null;
    const output = crossAttention(
      q,
      memory && keys && { ...keys, rows: memory.sequences },
      { scale: this.#scale(layer), causal: false },
      { layout, kept: layer, cache },
    );
    return modules.o.forward(output, ctx);
  }

  /** Keys and values of an encoder's rows in one layer. */
  #memoryKeys(
    { qkv }: AttentionModules<Linear, Norm>,
    { hidden, rows, sequences }: WholeRows,
    given: BatchContext,
  ): KeysValues {
    const { kvHeads, headDim } = this.#options;
    const [, toK, toV] = qkv as readonly [Linear, Linear, Linear];
    const ctx = { ...given, rows, sequences };
    const byHead = (linear: Linear): Tensor =>
      view(linear.forward(hidden, ctx), [hidden.shape[0] as number, kvHeads, headDim]);
    return { k: byHead(toK), v: byHead(toV) };
  }

  /** Queries [T, H, d], keys and values [T, Hkv, d]. */
  #projected(
    qkv: AttentionModules<Linear, Norm>['qkv'],
    n: Tensor,
    ctx: ForwardContext,
  ): [Tensor, Tensor, Tensor] {
    const { heads, kvHeads, headDim, clipQkv: most } = this.#options;
    const rows = n.shape[0] as number;
    const made = Linear.each(qkv, n, ctx).map((projected) =>
      most === undefined ? projected : clamp(projected, -most, most),
    );
    if (this.#options.qkv === 'interleaved') {
      const group = (heads / kvHeads) * headDim;
      const byKeyHead = view(made[0] as Tensor, [rows, kvHeads, group + 2 * headDim]);
      const [q, k, v] = split(byKeyHead, [group, headDim, headDim], 2) as [Tensor, Tensor, Tensor];
      return [reshape(q, [rows, heads, headDim]), k, v];
    }
    const sizes = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
    const each = made.length === 1 ? split(made[0] as Tensor, sizes, 1) : made;
    const [q, k, v] = each as [Tensor, Tensor, Tensor];
    const byKeyHead = (t: Tensor): Tensor => view(t, [rows, kvHeads, headDim]);
    return [view(q, [rows, heads, headDim]), byKeyHead(k), byKeyHead(v)];
  }

  #qkNormed(norm: Norm | null, x: Tensor, ctx: ForwardContext): Tensor {
    if (!norm) return x;
    if (this.#options.qkNorm === 'head') return norm.forward(x, ctx);
    const [rows, heads, size] = x.shape as [number, number, number];
    return view(norm.forward(reshape(x, [rows, heads * size]), ctx), x.shape);
  }

  #feed(modules: Block<Linear, Norm, Embedding>['feedForward'], n: Tensor, { ctx }: Pass): Tensor {
    return modules.experts
      ? modules.experts.forward(n, ctx)
      : feedForward(modules, n, this.#options, ctx);
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

  /** Only stacks without virtual rows are read so. */
  #summed({ hidden, whole, virtual }: Rows, made: Tensor, sum: LayerSum): Rows {
    const total = sum.total(this.layers, made, hidden);
    return { hidden: total, virtual, whole: { ...whole, hidden: total } };
  }

  #normed(x: Tensor, ctx: ForwardContext): Tensor {
    const { finalNorm, projectOut } = this.#parts.modules;
    const normed = finalNorm?.forward(x, ctx) ?? x;
    return projectOut?.forward(normed, ctx) ?? normed;
  }
}
