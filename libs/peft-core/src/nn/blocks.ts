/** Blocks of a stack on packed rows. For formulas and sizes see stack.ts. */
import { add_, clamp, mul, reshape, split, tidy, view } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { WholeRows } from './batch.js';
import { crossAttention, nextRows, selfAttention } from './layers/attention.js';
import type { AttentionPattern, KeysValues } from './layers/attention.js';
import type { BatchContext, ForwardContext } from './context.js';
import { convolve } from './layers/convolution.js';
import type { Convolving } from './layers/convolution.js';
import type { AttentionModules, Block } from './outline/description.js';
import type { Embedding } from './layers/embedding.js';
import { feedForward } from './layers/feed-forward.js';
import { withGatedPrompts } from './sites/gated-prompts.js';
import type { GatedPrompts } from './sites/gated-prompts.js';
import { cachedLayers } from './kept-rows.js';
import type { KvCache } from './kv-cache.js';
import { layerScaled } from './layers/layer-scale.js';
import type { PackedLayout } from './layout.js';
import { Linear } from './layers/linear.js';
import type { Norm } from './layers/norm.js';
import { applyRotary } from './layers/rope.js';
import type { RotaryCache } from './layers/rope.js';
import type { Slot } from './sites/slots.js';
import type { StackOptions } from './outline/stack-options.js';

/** Sublayer of a block with its norms. */
interface Normed {
  readonly norm: Norm | null;
  readonly normAfter: Norm | null;
}

/** State of one forward pass that all layers share. */
export interface Pass {
  readonly layout: PackedLayout;
  readonly ctx: ForwardContext;
  /** Rotary caches by layer. */
  readonly rotary: readonly (RotaryCache | null)[];
  readonly bias: AttentionPattern['bias'];
  readonly prefix: (layer: number) => (run: number) => KeysValues | undefined;
  readonly cache: KvCache | undefined;
  readonly memory: WholeRows | null;
}

export class Blocks {
  /** @param prompts virtual keys and values that runs add to attention */
  constructor(
    private readonly options: StackOptions,
    private readonly prompts: Slot<GatedPrompts>,
  ) {}

  forward(block: Block<Linear, Norm, Embedding>, layer: number, x: Tensor, shared: Pass): Tensor {
    const pass = this.#at(layer, shared);
    const { attention, convolution, cross, feedForward, scales } = block;
    if (attention && this.options.parallelResidual) {
      const n = this.#read(attention.norm, x, pass);
      const attended = this.#attend(attention, layer, n, pass);
      const fed = this.options.sharedNorm ? n : this.#read(feedForward.norm, x, pass);
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

  /** Returns a sublayer's input: the residual x after its norm, if it has one. */
  #read(norm: Norm | null, x: Tensor, { ctx }: Pass): Tensor {
    const { normPlace } = this.options;
    return norm && (normPlace === 'pre' || normPlace === 'around') ? norm.forward(x, ctx) : x;
  }

  /** Adds a sublayer's output to the residual. */
  #added({ norm, normAfter }: Normed, output: Tensor, x: Tensor, { ctx }: Pass): Tensor {
    const { normPlace, residualScale } = this.options;
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
    const hasPrompts = ctx.rows.some(({ run }) => this.prompts.of(run));
    const next = hasPrompts
      ? null
      : nextRows(normed.q, { k: normed.k, v }, rotary, pattern, around);
    if (next) return modules.o.forward(next, ctx);
    const positioned = (x: Tensor): Tensor => (rotary ? applyRotary(x, rotary) : x);
    const keys = positioned(normed.k);
    const queries = positioned(normed.q);
    const output = selfAttention(queries, { k: keys, v }, pattern, around);
    return withGatedPrompts(modules.o.forward(output, ctx), queries, this.prompts, layer, ctx, {
      qkv: (rows, bare) => this.#projected(modules.qkv, rows, bare),
      output: (rows, bare) => modules.o.forward(rows, bare),
      cache,
    });
  }

  /** Number of earlier layers with keys and values, which is the layer's index in the cache. */
  #kept(layer: number): number {
    return cachedLayers(this.options, layer);
  }

  #pattern(layer: number, { bias }: Pass): AttentionPattern {
    const { windows, attention, attentionSoftcap: softcap = null } = this.options;
    const causal = attention === 'causal';
    const window = windows?.[layer] ?? null;
    return { scale: this.#scale(layer), causal, window, softcap, ...(bias && { bias }) };
  }

  #scale(layer: number): number {
    const { headDim, attentionScale = 1 / Math.sqrt(headDim), scaleByLayer } = this.options;
    return attentionScale / (scaleByLayer ? layer + 1 : 1);
  }

  #attendAcross(
    modules: AttentionModules<Linear, Norm>,
    layer: number,
    x: Tensor,
    pass: Pass,
  ): Tensor {
    const { heads, headDim } = this.options;
    const { ctx, layout, cache, memory } = pass;
    const n = this.#read(modules.norm, x, pass);
    const [toQ] = modules.qkv;
    const q = view(toQ.forward(n, ctx), [x.shape[0] as number, heads, headDim]);
    const keys = memory && !cache ? this.memoryKeys(modules, memory, ctx) : null;
    const output = crossAttention(
      q,
      memory && keys && { ...keys, rows: memory.sequences },
      { scale: this.#scale(layer), causal: false },
      { layout, kept: layer, cache },
    );
    return modules.o.forward(output, ctx);
  }

  /** Computes keys and values of the encoder's rows in one layer. */
  memoryKeys(
    { qkv }: AttentionModules<Linear, Norm>,
    { hidden, rows, sequences }: WholeRows,
    given: BatchContext,
  ): KeysValues {
    const { kvHeads, headDim } = this.options;
    const [, toK, toV] = qkv as readonly [Linear, Linear, Linear];
    const ctx = { ...given, rows, sequences };
    const byHead = (linear: Linear): Tensor =>
      view(linear.forward(hidden, ctx), [hidden.shape[0] as number, kvHeads, headDim]);
    return { k: byHead(toK), v: byHead(toV) };
  }

  /** Returns queries [T, H, d], keys and values [T, Hkv, d]. */
  #projected(
    qkv: AttentionModules<Linear, Norm>['qkv'],
    n: Tensor,
    ctx: ForwardContext,
  ): [Tensor, Tensor, Tensor] {
    const { heads, kvHeads, headDim, clipQkv: most } = this.options;
    const rows = n.shape[0] as number;
    const made = Linear.each(qkv, n, ctx).map((projected) =>
      most === undefined ? projected : clamp(projected, -most, most),
    );
    if (this.options.qkv === 'interleaved') {
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
    if (this.options.qkNorm === 'head') return norm.forward(x, ctx);
    const [rows, heads, size] = x.shape as [number, number, number];
    return view(norm.forward(reshape(x, [rows, heads * size]), ctx), x.shape);
  }

  #feed(modules: Block<Linear, Norm, Embedding>['feedForward'], n: Tensor, { ctx }: Pass): Tensor {
    return modules.experts
      ? modules.experts.forward(n, ctx)
      : feedForward(modules, n, this.options, ctx);
  }

  /** Returns the pass for a layer. A block that several layers share has separate dropout in each. */
  #at(layer: number, pass: Pass): Pass {
    const { blocks } = this.options;
    const repeat = blocks ? blocks.indexOf(blocks[layer] as string) : layer;
    return repeat === layer ? pass : { ...pass, ctx: { ...pass.ctx, repeat: layer } };
  }
}
