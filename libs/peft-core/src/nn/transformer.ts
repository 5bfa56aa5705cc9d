/**
 * A decoder, from token ids to hidden states. Families differ by options, not by copies of this file.
 *
 *   x ← words(tokens) [+ positions]
 *   x ← x + o(attention(q(n), k(n), v(n)))     n = norm(x); q, k rotated or not
 *   x ← x + down(act(gate(n)) ⊙ up(n))         n = norm(x); or down(act(up(n)))
 *   h = norm(x)
 *
 * T rows of the batch (virtual tokens included), D hidden size, H heads of size d, Hkv key heads, V vocabulary.
 */
import {
  add_,
  cat,
  gelu,
  mul,
  narrow,
  relu,
  silu,
  siluMul,
  split,
  tensor,
  tidy,
  to,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { PackedBatch } from '../batch.js';
import type { BaseDtype, HfConfig, Model } from '../models/model.js';
import { attention } from './attention.js';
import type { KeysValues } from './attention.js';
import type { ForwardContext } from './context.js';
import { KvCache } from './kv-cache.js';
import { Layout } from './layout.js';
import { frequencies, ropeTables, rotate } from './rope.js';
import type { RopeTables } from './rope.js';
import { rowContext } from './site.js';
import type { EmbeddingSite, LinearSite, NormSite, Sites } from './site.js';
import type { TransformerOptions } from './transformer-options.js';

export interface Block {
  readonly attentionNorm: NormSite;
  /** Query, key and value, or one linear for all three. */
  readonly qkv: readonly [LinearSite, LinearSite, LinearSite] | readonly [LinearSite];
  readonly qNorm: NormSite | null;
  readonly kNorm: NormSite | null;
  readonly o: LinearSite;
  readonly mlpNorm: NormSite;
  readonly gate: LinearSite | null;
  readonly up: LinearSite;
  readonly down: LinearSite;
}

/** What a transformer is made of; models/assemble puts it together. */
export interface Parts {
  readonly family: string;
  readonly config: HfConfig;
  readonly options: TransformerOptions;
  readonly dtype: BaseDtype;
  readonly words: EmbeddingSite;
  readonly positions: EmbeddingSite | null;
  readonly blocks: readonly Block[];
  readonly finalNorm: NormSite;
  readonly headSite: LinearSite;
  readonly sites: Sites;
  readonly parameterCount: number;
  dispose(): void;
}

/** One forward: what all layers share. */
interface Pass {
  readonly layout: Layout;
  readonly ctx: ForwardContext;
  readonly rope: RopeTables | null;
  readonly prefix: (layer: number) => (run: number) => KeysValues | undefined;
  readonly cache: KvCache | undefined;
}

const ACTIVATIONS: Readonly<Record<TransformerOptions['activation'], (x: Tensor) => Tensor>> = {
  silu,
  relu,
  gelu: (x) => gelu(x),
  gelu_tanh: (x) => gelu(x, 'tanh'),
};

export class Transformer implements Model {
  readonly family: string;
  readonly config: HfConfig;
  readonly options: TransformerOptions;
  readonly dtype: BaseDtype;
  readonly sites: Sites;
  readonly parameterCount: number;
  readonly #parts: Parts;
  readonly #activate: (x: Tensor) => Tensor;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.family = parts.family;
    this.config = parts.config;
    this.options = parts.options;
    this.dtype = parts.dtype;
    this.sites = parts.sites;
    this.parameterCount = parts.parameterCount;
    this.#activate = ACTIVATIONS[parts.options.activation];
  }

  get vocabSize(): number {
    return this.options.vocabSize;
  }

  get hiddenSize(): number {
    return this.options.hiddenSize;
  }

  get layers(): number {
    return this.options.layers;
  }

  get heads(): number {
    return this.options.heads;
  }

  get kvHeads(): number {
    return this.options.kvHeads;
  }

  get headDim(): number {
    return this.options.headDim;
  }

  get maxPositions(): number {
    return this.options.maxPositions;
  }

  forward(batch: PackedBatch, given: ForwardContext, cache?: KvCache): Tensor {
    const layout = new Layout(batch, this.sites, cache);
    const ctx = { ...given, rows: layout.rows };
    try {
      const [hidden, virtual] = tidy(() => {
        const pass = this.#open(layout, ctx, cache);
        let x = this.#embed(batch, pass);
        for (const [layer, block] of this.#parts.blocks.entries()) {
          // autograd keeps what it needs of the layer before; the handle need not
          const before = x;
          x = tidy(() => this.#block(block, layer, before, pass));
          before.dispose();
        }
        return this.#finish(x, pass);
      });
      for (const piece of cache ? layout.pieces : []) {
        const shared = piece.shared < 0 ? 0 : (layout.pieces[piece.shared]?.rows ?? 0);
        if (piece.cache !== null) cache?.advance(piece.cache, piece.prefix + shared + piece.rows);
      }
      for (const [run, row] of virtual) given.virtual?.set(run, row);
      return hidden;
    } finally {
      layout.dispose();
    }
  }

  head(hidden: Tensor, ctx: ForwardContext): Tensor {
    return tidy(() => this.#parts.headSite.forward(hidden, ctx));
  }

  cache(): KvCache {
    const { layers, kvHeads, headDim } = this.options;
    return new KvCache({ layers, kvHeads, headDim, dtype: this.dtype });
  }

  dispose(): void {
    this.#parts.dispose();
  }

  #open(layout: Layout, ctx: ForwardContext, cache: KvCache | undefined): Pass {
    const { rope, headDim } = this.options;
    const prefixes = new Map(
      layout.rows.flatMap(({ run }) => {
        const opened = this.sites.prefix.of(run)?.open(rowContext(ctx, run, this.#virtualSite));
        return opened ? [[run, opened] as const] : [];
      }),
    );
    return {
      layout,
      ctx,
      rope: rope ? ropeTables(frequencies(rope, headDim), layout.positions, this.dtype) : null,
      prefix: (layer) => (run) => prefixes.get(run)?.(layer),
      cache,
    };
  }

  /** Number of the site of virtual tokens: after all linears. */
  get #virtualSite(): number {
    return this.sites.linears().length;
  }

  /** Embeddings [T, D], virtual rows before each run's real ones. */
  #embed({ tokens }: PackedBatch, { layout, ctx }: Pass): Tensor {
    return tidy(() => {
      const real = this.#parts.words.forward(tensor(tokens, [tokens.length]), {
        ...ctx,
        rows: layout.realRows,
      });
      const x = layout.hasVirtual ? this.#withVirtual(real, layout, ctx) : real;
      if (!this.#parts.positions) return x;
      const { positions } = layout;
      const furthest = positions.reduce((most, position) => Math.max(most, position), 0);
      if (furthest >= this.maxPositions) {
        const message = `position ${furthest} (virtual tokens included) is beyond the model's ${this.maxPositions}; shorten the input`;
        throw new DomainError('invalid_value', message, 'graft.max_seq_len');
      }
      const learned = this.#parts.positions.forward(tensor(positions, [positions.length]), ctx);
      return add_(learned, x);
    });
  }

  #withVirtual(real: Tensor, { realRows, virtualRows }: Layout, ctx: ForwardContext): Tensor {
    const parts =
      realRows.length === 1
        ? [real]
        : split(
            real,
            realRows.map(({ length }) => length),
          );
    return cat(
      realRows.flatMap(({ run }, i) => {
        const rows = parts[i] as Tensor;
        if (virtualRows[i] === 0) return [rows];
        const virtual = this.sites.inputs
          .of(run)
          ?.embeddings(rowContext(ctx, run, this.#virtualSite)) as Tensor;
        return [to(virtual, this.dtype), rows];
      }),
    );
  }

  #block(block: Block, layer: number, x: Tensor, pass: Pass): Tensor {
    const middle = tidy(() => add_(this.#attend(block, layer, x, pass), x));
    return tidy(() => add_(this.#feed(block, middle, pass), middle));
  }

  #attend(
    block: Block,
    layer: number,
    x: Tensor,
    { layout, ctx, rope, prefix, cache }: Pass,
  ): Tensor {
    const { heads, kvHeads, headDim, scaleByLayer, windows } = this.options;
    const rows = x.shape[0] as number;
    const n = block.attentionNorm.forward(x, ctx);
    const projected = block.qkv.map((site) => site.forward(n, ctx));
    const [q, k, v] =
      projected.length === 3
        ? (projected as [Tensor, Tensor, Tensor])
        : (split(
            projected[0] as Tensor,
            [heads * headDim, kvHeads * headDim, kvHeads * headDim],
            1,
          ) as [Tensor, Tensor, Tensor]);
    const queries = this.#positioned(view(q, [rows, heads, headDim]), block.qNorm, ctx, rope);
    const keys = this.#positioned(view(k, [rows, kvHeads, headDim]), block.kNorm, ctx, rope);
    const output = attention(queries, keys, view(v, [rows, kvHeads, headDim]), {
      layout,
      layer,
      scale: 1 / Math.sqrt(headDim) / (scaleByLayer ? layer + 1 : 1),
      window: windows[layer] ?? null,
      prefix: prefix(layer),
      cache,
    });
    return block.o.forward(output, ctx);
  }

  #positioned(
    x: Tensor,
    norm: NormSite | null,
    ctx: ForwardContext,
    rope: RopeTables | null,
  ): Tensor {
    const normed = norm ? norm.forward(x, ctx) : x;
    return rope ? rotate(normed, rope) : normed;
  }

  #feed(block: Block, x: Tensor, { ctx }: Pass): Tensor {
    const n = block.mlpNorm.forward(x, ctx);
    const up = block.up.forward(n, ctx);
    return block.down.forward(this.#activated(block.gate?.forward(n, ctx) ?? null, up), ctx);
  }

  #activated(gate: Tensor | null, up: Tensor): Tensor {
    if (!gate) return this.#activate(up);
    if (this.options.activation === 'silu') return siluMul(gate, up);
    return mul(this.#activate(gate), up);
  }

  /** Hidden states of the real rows [T, D], and of each run's last virtual row [1, D]. */
  #finish(x: Tensor, { layout, ctx }: Pass): [Tensor, Map<number, Tensor>] {
    const { finalNorm } = this.#parts;
    const virtual = new Map<number, Tensor>();
    if (!layout.hasVirtual) return [finalNorm.forward(x, ctx), virtual];
    const real = layout.rows.map(({ run, start, length }, i) => {
      const skip = layout.virtualRows[i] as number;
      if (skip > 0 && ctx.virtual) {
        const last = narrow(x, 0, start + skip - 1, 1);
        virtual.set(run, finalNorm.forward(last, { ...ctx, rows: [{ run, start: 0, length: 1 }] }));
      }
      return narrow(x, 0, start + skip, length - skip);
    });
    const joined = real.length === 1 ? (real[0] as Tensor) : cat(real);
    return [finalNorm.forward(joined, { ...ctx, rows: layout.realRows }), virtual];
  }
}
