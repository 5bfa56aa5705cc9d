/**
 * Where methods attach. A model is built of sites; an adapter acts on its own run's rows of them, so that runs
 * share one frozen base. Letters: n rows at hand, V vocabulary, D hidden size, p virtual tokens.
 */
import { cat, embedding, layerNorm, linear, rmsNorm, split, to, transpose } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { RunRows } from '../batch.js';
import type { ForwardContext, RowContext, RunKey } from './context.js';
import { ofRoles } from './outline.js';
import type { Modules } from './outline.js';
import type { Weight } from './weight.js';

/** What a linear does in its layer; families that fuse query, key and value have one `qkv`. */
export type Role = 'q' | 'k' | 'v' | 'qkv' | 'o' | 'gate' | 'up' | 'down' | 'head';

/** Acts on one run's rows of a linear. */
export interface RowAdapter {
  /** Computes the output alone: `y` is null (modules_to_save, full fine-tuning). */
  readonly replaces?: boolean;
  /** x: [n, in], y: [n, out]; `ctx.alone`: it may change y in place. Returns [n, out] in y's dtype. */
  apply(x: Tensor, y: Tensor | null, ctx: RowContext): Tensor;
}

/** One run's own parameters of a norm or an embedding; what is left out is the base's. */
export interface Override {
  readonly weight?: Tensor;
  readonly bias?: Tensor;
}

const NO_KEY: RunKey = { seed: 0, step: 0 };

/** What a run's adapter at a site sees of a forward. */
export const rowContext = (ctx: ForwardContext, run: number, site: number): RowContext => ({
  training: ctx.training,
  key: ctx.runs.get(run) ?? NO_KEY,
  site,
  alone: ctx.rows.length === 1,
});

/** Runs `fn` on each run's rows of x and joins the results; a run alone gets x as it is. */
function byRun(x: Tensor, ctx: ForwardContext, fn: (rows: Tensor, run: number) => Tensor): Tensor {
  const [first] = ctx.rows;
  if (first && ctx.rows.length === 1) return fn(x, first.run);
  const parts = split(
    x,
    ctx.rows.map(({ length }) => length),
  );
  return cat(ctx.rows.map(({ run }, i) => fn(parts[i] as Tensor, run)));
}

const touches = (attached: ReadonlyMap<number, unknown>, rows: readonly RunRows[]): boolean =>
  attached.size > 0 && rows.some(({ run }) => attached.has(run));

export interface LinearDescription {
  /** Module path as transformers has it: 'model.layers.0.self_attn.q_proj'. */
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  /** Number of the site in its model: keys dropout. */
  readonly index: number;
  readonly weight: Weight;
  readonly bias: Tensor | null;
  /** Whether files store the weight as [in, out]. */
  readonly conv1d: boolean;
}

/** y = x Wᵀ + b, and what the runs' adapters make of it. */
export class LinearSite {
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  readonly index: number;
  readonly conv1d: boolean;
  readonly weight: Weight;
  readonly bias: Tensor | null;
  readonly #attached = new Map<number, RowAdapter[]>();

  constructor(description: LinearDescription) {
    this.path = description.path;
    this.role = description.role;
    this.layer = description.layer;
    this.index = description.index;
    this.conv1d = description.conv1d;
    this.weight = description.weight;
    this.bias = description.bias;
  }

  get inFeatures(): number {
    return this.weight.inFeatures;
  }

  get outFeatures(): number {
    return this.weight.outFeatures;
  }

  /** Adapters of one run act in the order in which they were attached. */
  attach(run: number, adapter: RowAdapter): void {
    const adapters = this.#attached.get(run);
    if (adapters) adapters.push(adapter);
    else this.#attached.set(run, [adapter]);
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** x: [n, in] → [n, out] */
  forward(x: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return this.#base(x);
    const adaptersOf = (run: number): RowAdapter[] => this.#attached.get(run) ?? [];
    const replaced = ctx.rows.some(({ run }) => adaptersOf(run).some(({ replaces }) => replaces));
    if (replaced || ctx.rows.length === 1) {
      return byRun(x, ctx, (rows, run) => {
        const adapters = adaptersOf(run);
        return this.#adapt(
          rows,
          adapters.some(({ replaces }) => replaces) ? null : this.#base(rows),
          run,
          ctx,
        );
      });
    }
    // one product for all runs; each then adapts its own rows of it
    const sizes = ctx.rows.map(({ length }) => length);
    const [xs, ys] = [split(x, sizes), split(this.#base(x), sizes)];
    return cat(
      ctx.rows.map(({ run }, i) => this.#adapt(xs[i] as Tensor, ys[i] as Tensor, run, ctx)),
    );
  }

  #base(x: Tensor): Tensor {
    return this.weight.multiply(x, this.bias);
  }

  #adapt(x: Tensor, y: Tensor | null, run: number, ctx: ForwardContext): Tensor {
    const context = rowContext(ctx, run, this.index);
    let result = y;
    for (const adapter of this.#attached.get(run) ?? []) result = adapter.apply(x, result, context);
    return result as Tensor;
  }
}

/** A norm over the last dimension: LayerNorm, or RMSNorm as LLaMA has it. */
export class NormSite {
  readonly #attached = new Map<number, Override>();

  constructor(
    readonly path: string,
    readonly kind: 'layer' | 'rms',
    readonly eps: number,
    readonly weight: Tensor,
    readonly bias: Tensor | null,
  ) {}

  /** Replaces parameters for one run; a second call adds to the first. */
  attach(run: number, override: Override): void {
    this.#attached.set(run, { ...this.#attached.get(run), ...override });
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** x: [n, …, features], rows first */
  forward(x: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return this.#norm(x, this.weight, this.bias);
    return byRun(x, ctx, (rows, run) => {
      const { weight = this.weight, bias = this.bias } = this.#attached.get(run) ?? {};
      return this.#norm(rows, to(weight, x.dtype), bias && to(bias, x.dtype));
    });
  }

  #norm(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    return this.kind === 'rms'
      ? rmsNorm(x, weight, this.eps)
      : layerNorm(x, weight, bias, this.eps);
  }
}

/** Rows of a table. */
export class EmbeddingSite {
  readonly #attached = new Map<number, Override>();

  constructor(
    readonly path: string,
    /** [V, D] */
    readonly weight: Tensor,
  ) {}

  attach(run: number, override: Override): void {
    this.#attached.set(run, { ...this.#attached.get(run), ...override });
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** ids: i64 [n] → [n, D] in the base's dtype */
  forward(ids: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return embedding(this.weight, ids);
    return byRun(ids, ctx, (rows, run) => {
      const own = this.#attached.get(run)?.weight;
      return own ? to(embedding(own, rows), this.weight.dtype) : embedding(this.weight, rows);
    });
  }
}

/** Virtual tokens of one run: rows put before block 0, computed once per batch and seen by all its sequences. */
export interface VirtualInputs {
  /** p */
  readonly length: number;
  /** [p, D], any float dtype */
  embeddings(ctx: RowContext): Tensor;
}

/** Virtual keys and values of one run in every layer. They carry no rotation. */
export interface VirtualPrefix {
  /** p */
  readonly length: number;
  /** Called once per forward; the result, once per layer. k, v: [p, kv heads, head size] in the base's dtype. */
  open(ctx: RowContext): (layer: number) => { k: Tensor; v: Tensor };
}

/** At most one of a kind per run. */
export class VirtualSite<T extends VirtualInputs | VirtualPrefix> {
  readonly #attached = new Map<number, T>();

  attach(run: number, virtual: T): void {
    this.#attached.set(run, virtual);
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  of(run: number): T | undefined {
    return this.#attached.get(run);
  }
}

/** Everything of a model that a method may attach to. */
export class Sites implements Modules<LinearSite, NormSite, EmbeddingSite> {
  /** Token embeddings. */
  readonly words: EmbeddingSite;
  readonly inputs = new VirtualSite<VirtualInputs>();
  readonly prefix = new VirtualSite<VirtualPrefix>();

  constructor(
    private readonly all: {
      readonly linears: readonly LinearSite[];
      readonly norms: readonly NormSite[];
      /** The first is that of token ids. */
      readonly embeddings: readonly [EmbeddingSite, ...EmbeddingSite[]];
      /** Sites in pairs whose parameters are one tensor: head and embedding. */
      readonly tied: readonly (readonly [LinearSite, EmbeddingSite])[];
    },
  ) {
    this.words = all.embeddings[0];
  }

  /** Linears of these roles, in the model's order; all of them when left out. A fused `qkv` answers for q, k and v. */
  linears(roles?: readonly Role[]): readonly LinearSite[] {
    return ofRoles(this.all.linears, roles);
  }

  norms(): readonly NormSite[] {
    return this.all.norms;
  }

  embeddings(): readonly EmbeddingSite[] {
    return this.all.embeddings;
  }

  /** Heads that share an embedding's matrix. */
  tied(): readonly (readonly [LinearSite, EmbeddingSite])[] {
    return this.all.tied;
  }

  /** Removes everything that was attached for a run. */
  detach(run: number): void {
    for (const site of [...this.all.linears, ...this.all.norms, ...this.all.embeddings])
      site.detach(run);
    this.inputs.detach(run);
    this.prefix.detach(run);
  }
}

/** A linear whose parameters are the run's own. weight: [out, in] or, for `conv1d`, [in, out]. */
export function ownLinear(weight: Tensor, bias: Tensor | null, conv1d: boolean): RowAdapter {
  return {
    replaces: true,
    apply(x) {
      const w = to(weight, x.dtype);
      return linear(x, conv1d ? transpose(w, 0, 1) : w, bias && to(bias, x.dtype));
    },
  };
}
