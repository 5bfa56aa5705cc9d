/**
 * Linear layers of a model. Runs share one frozen base model; an adapter acts only on its own run's rows. n
 * is the number of current rows.
 */
import {
  add,
  add_,
  addLowRank_,
  cat,
  hasLinears,
  hasLowRank,
  isGradEnabled,
  linear,
  linears,
  lowRankCall,
  reshape,
  split,
  sub,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Dtype, LowRank, LowRankCall, LowRankRows, Tensor } from '@graft/kernels';
import type { ForwardContext, RowContext } from '../context.js';
import { areSame, rowContext, touches } from '../rows.js';
import type { RunRows } from '../batch.js';
import type { Weight } from '../weight.js';

/** Function of a linear layer in its block. Families that fuse query, key and value have one `qkv`. */
export type Role =
  | 'q'
  | 'k'
  | 'v'
  | 'qkv'
  | 'o'
  | 'gate'
  | 'up'
  | 'gate_up'
  | 'down'
  | 'convolveIn'
  | 'convolveOut'
  | 'projectIn'
  | 'projectOut'
  | 'convolution'
  | 'pooler'
  | 'head';

/** Context that an adapter receives in `after`. */
export interface LinearContext extends RowContext {
  /** Bias that y contains, in y's dtype: the base model's, or the run's own. */
  readonly bias: Tensor | null;
}

/**
 * One run's adapter of a linear layer, for the run's own rows  x: [n, in] → y: [n, out]
 *
 *   y = after(before(x) · weight(W)ᵀ + bias(b), x)
 *
 * Members that are missing change nothing. The runs of a batch share one product, whatever their adapters do
 * before and after it. Only rows with a weight of their own are multiplied separately.
 */
export interface LinearAdapter {
  /** Returns another input, in x's dtype. */
  before?(x: Tensor, ctx: RowContext): Tensor;
  /**
   * Returns the run's own W' [out, in] in `dtype`. The frozen W may be quantized. At most one adapter of a
   * run has it.
   */
  weight?(frozen: Weight, dtype: Dtype): Tensor;
  /** Returns the run's own b' [out], in any floating dtype. */
  bias?(frozen: Tensor | null): Tensor;
  /** Returns another output, in y's dtype. May modify y in place if `ctx.alone`. */
  after?(y: Tensor, x: Tensor, ctx: LinearContext): Tensor;
  /**
   * Returns the low-rank product that `after` adds to y in a forward pass without training, or null if
   * `after` does more than that. Adapters with it have no `before`, `weight` or `bias`. If the adapter acts
   * on all of its rows, the result is cached until `attach`, `detach` or `renew`; its factors are read in
   * every forward pass.
   */
  lowRank?(ctx: RowContext): LowRank | null;
}

/**
 * Largest rows times rank for which the low-rank adapters of a batch are added in one fused call. Above it,
 * libtorch's products are faster (docs/log.md). For small ranks in bf16 the limit is higher.
 */
const FEW_PRODUCTS = 128;
const FEW_SMALL_PRODUCTS = 8192;
const SMALL_RANK = 16;

function isFew({ a }: LowRank, rows: number): boolean {
  const rank = a.shape[0] as number;
  const isSmall = a.dtype === 'bf16' && rank <= SMALL_RANK;
  return rows * rank <= (isSmall ? FEW_SMALL_PRODUCTS : FEW_PRODUCTS);
}

const NOTHING: LowRankRows[] = [];

type WithWeight = LinearAdapter & Required<Pick<LinearAdapter, 'weight'>>;
const hasWeight = (adapter: LinearAdapter): adapter is WithWeight => adapter.weight !== undefined;

/** One run's rows of a layer's input, and its adapters. */
interface Share {
  readonly adapters: readonly LinearAdapter[];
  readonly ctx: RowContext;
  readonly x: Tensor;
  /** x after `before`. */
  readonly input: Tensor;
  /** Adapter with the run's own weight. */
  readonly owner: WithWeight | undefined;
}

export interface LinearDescription {
  /** Module path in Transformers: 'model.layers.0.self_attn.q_proj'. */
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  /** Number of the module in its model, which is part of the dropout key. */
  readonly index: number;
  readonly weight: Weight;
  readonly bias: Tensor | null;
  /** Whether files store the weight as [in, out]. */
  readonly transposed: boolean;
  /** Input channels and window of a convolution, which files store as [out, channels, …]. */
  readonly kernel?: readonly number[] | undefined;
  readonly adaptable?: false | undefined;
}

/** Converts a matrix [out, in] to the layout of a layer's weight in files. */
export function asStored({ kernel, transposed }: Orientation, matrix: Tensor): Tensor {
  if (kernel) return reshape(matrix, [-1, ...kernel]);
  return transposed ? transpose(matrix, 0, 1) : matrix;
}

/** Inverse of `asStored`. */
export function asMatrix({ kernel, transposed }: Orientation, stored: Tensor): Tensor {
  if (kernel) return reshape(stored, [stored.shape[0] as number, -1]);
  return transposed ? transpose(stored, 0, 1) : stored;
}

type Orientation = Pick<LinearDescription, 'kernel' | 'transposed'>;

/** Linear layer y = x Wᵀ + b with the adapters of its runs. */
export class Linear {
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  readonly index: number;
  readonly transposed: boolean;
  readonly kernel: readonly number[] | undefined;
  readonly adaptable: false | undefined;
  readonly weight: Weight;
  readonly bias: Tensor | null;
  readonly #attached = new Map<number, LinearAdapter[]>();
  /** Adapters of the last rows. During generation the next rows mostly belong to the same runs. */
  #last: { readonly rows: readonly RunRows[]; readonly added: LowRankRows[] } | null = null;
  #call: LowRankCall | null = null;

  constructor(description: LinearDescription) {
    this.path = description.path;
    this.role = description.role;
    this.layer = description.layer;
    this.index = description.index;
    this.transposed = description.transposed;
    this.kernel = description.kernel;
    this.adaptable = description.adaptable;
    this.weight = description.weight;
    this.bias = description.bias;
  }

  get inFeatures(): number {
    return this.weight.inFeatures;
  }

  get outFeatures(): number {
    return this.weight.outFeatures;
  }

  /** Attaches an adapter. Adapters of one run act in the order in which they were attached. */
  attach(run: number, adapter: LinearAdapter): void {
    this.renew();
    const adapters = this.#attached.get(run);
    if (adapters) adapters.push(adapter);
    else this.#attached.set(run, [adapter]);
  }

  /** Discards the cached results of `lowRank`. */
  renew(): void {
    this.#last = null;
    this.#call = null;
  }

  detach(run: number): void {
    this.renew();
    this.#attached.delete(run);
  }

  /**
   * Computes several layers on the same rows, with the same results as separate calls. Uses one product if
   * there are few rows and the adapters only add low-rank products.
   */
  static each(all: readonly Linear[], x: Tensor, ctx: ForwardContext): Tensor[] {
    const weights = all.flatMap(({ weight: { factor } }) => (factor ? [factor] : []));
    const biases = all.map(({ bias }) => bias);
    const isOne = all.length > 1 && weights.length === all.length && hasLinears(x, weights, biases);
    const added = isOne ? all.map((one) => one.#addedRows(x, ctx)) : [null];
    if (added.includes(null)) return all.map((one) => one.forward(x, ctx));
    const ys = linears(x, weights, biases);
    (all[0] as Linear).#add_(ys, x, added as LowRankRows[][]);
    return ys;
  }

  /** x: [n, in] → [n, out] */
  forward(x: Tensor, ctx: ForwardContext): Tensor {
    const low = this.#addedRows(x, ctx);
    if (low) {
      const y = this.weight.multiply(x, this.bias);
      this.#add_([y], x, [low]);
      return y;
    }
    const sizes = ctx.rows.map(({ length }) => length);
    const xs = sizes.length === 1 ? [x] : split(x, sizes);
    const shares = ctx.rows.map(({ run }, i) => this.#share(xs[i] as Tensor, run, ctx));
    const products = this.#products(x, shares);
    const ys = shares.map((share, i) => this.#after(products[i] as Tensor, share));
    return ys.length === 1 ? (ys[0] as Tensor) : cat(ys);
  }

  /**
   * Returns the low-rank products to add for each run. Empty if there are no adapters. Null if some adapter
   * does more, or has too many rows (`isFew`).
   */
  #addedRows(x: Tensor, ctx: ForwardContext): LowRankRows[] | null {
    if (!touches(this.#attached, ctx.rows)) return NOTHING;
    if (ctx.training || isGradEnabled() || !hasLowRank(x)) return null;
    const { rows, active } = ctx;
    const isSame = active === undefined || active.size === 0;
    if (isSame && this.#last && areSame(this.#last.rows, rows)) return this.#last.added;
    const added: LowRankRows[] = [];
    for (const { run, start, length } of rows) {
      const [adapter, ...more] = this.#attached.get(run) ?? [];
      if (!adapter) continue;
      const low = more.length === 0 ? adapter.lowRank?.(rowContext(ctx, run, this.index)) : null;
      if (!low || !isFew(low, length)) return null;
      added.push({ ...low, start, length });
    }
    if (isSame) this.#last = { rows, added };
    return added;
  }

  /**
   * Adds low-rank products to the outputs of layers with the same input. This layer is the first and caches
   * the call.
   */
  #add_(ys: readonly Tensor[], x: Tensor, added: readonly LowRankRows[][]): void {
    if (added.every((each) => each.length === 0)) return;
    const last = this.#call?.adapters ?? [];
    const isSame = last.length === added.length && added.every((each, i) => each === last[i]);
    if (!isSame || !this.#call) this.#call = lowRankCall(added);
    addLowRank_(ys, x, this.#call);
  }

  #share(x: Tensor, run: number, ctx: ForwardContext): Share {
    const adapters = this.#attached.get(run) ?? [];
    const context = rowContext(ctx, run, this.index);
    const owner = adapters.find(hasWeight);
    return {
      adapters,
      ctx: owner ? { ...context, alone: true } : context,
      x,
      input: adapters.reduce((input, adapter) => adapter.before?.(input, context) ?? input, x),
      owner,
    };
  }

  /** Returns each share's product. Shares that use the frozen weight take part in one product. */
  #products(x: Tensor, shares: readonly Share[]): Tensor[] {
    const sharing = shares.filter(({ owner }) => !owner);
    const asGiven =
      sharing.length === shares.length && shares.every((each) => each.input === each.x);
    const inputs = asGiven ? [x] : sharing.map(({ input }) => input);
    const shared = inputs.length === 0 ? [] : this.#shared(inputs, sharing);
    return shares.map((share) =>
      share.owner ? this.#own(share, share.owner) : (shared.shift() as Tensor),
    );
  }

  #shared(inputs: readonly Tensor[], sharing: readonly Share[]): Tensor[] {
    const joined = inputs.length === 1 ? (inputs[0] as Tensor) : cat(inputs);
    const product = this.weight.multiply(joined, this.bias);
    if (sharing.length === 1) return [product];
    return split(
      product,
      sharing.map(({ x }) => x.shape[0] as number),
    );
  }

  #own({ input, adapters }: Share, owner: WithWeight): Tensor {
    const bias = this.#biasOf(adapters);
    const { dtype } = input;
    return linear(input, owner.weight(this.weight, dtype), bias && to(bias, dtype));
  }

  #after(product: Tensor, { adapters, ctx, x, owner }: Share): Tensor {
    if (adapters.length === 0) return product;
    const { dtype } = product;
    const own = this.#biasOf(adapters);
    const bias = own && (own === this.bias ? own : to(own, dtype));
    const shifted =
      owner || own === this.bias ? product : this.#shift(product, own as Tensor, ctx.alone);
    return adapters.reduce((y, adapter) => adapter.after?.(y, x, { ...ctx, bias }) ?? y, shifted);
  }

  /** y + (b' - b). Subtracting before rounding to y's dtype preserves a small change of b'. */
  #shift(y: Tensor, own: Tensor, inPlace: boolean): Tensor {
    return tidy(() => {
      const difference = this.bias ? sub(own, this.bias) : own;
      return (inPlace ? add_ : add)(y, to(difference, y.dtype));
    });
  }

  #biasOf(adapters: readonly LinearAdapter[]): Tensor | null {
    return adapters.reduce(
      (bias, adapter) => (adapter.bias ? adapter.bias(bias) : bias),
      this.bias,
    );
  }
}
