/**
 * The linears of a model. Runs share one frozen base: an adapter acts on its own run's rows of a linear.
 * Letters: n rows at hand.
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

/** What a linear does in its layer; families that fuse query, key and value have one `qkv`. */
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

/** What an adapter of a linear sees of a forward, after the product. */
export interface LinearContext extends RowContext {
  /** The bias that y holds, in y's dtype: the base's, or the run's own. */
  readonly bias: Tensor | null;
}

/**
 * What one run's adapter makes of a linear, on the run's own rows  x: [n, in] → y: [n, out]
 *
 *   y = after(before(x) · weight(W)ᵀ + bias(b), x)
 *
 * What is left out changes nothing. Runs of a batch share one product, whatever each does before and after it; only
 * rows with a weight of their own take no part.
 */
export interface LinearAdapter {
  /** Another input, in x's dtype. */
  before?(x: Tensor, ctx: RowContext): Tensor;
  /** The run's own W' [out, in] in `dtype`; the frozen W may be packed. One adapter of a run has it at most. */
  weight?(frozen: Weight, dtype: Dtype): Tensor;
  /** The run's own b' [out], in any floating dtype. */
  bias?(frozen: Tensor | null): Tensor;
  /** Another output, in y's dtype, which it may change in place where `ctx.alone`. */
  after?(y: Tensor, x: Tensor, ctx: LinearContext): Tensor;
  /**
   * What `after` comes to where it is no more than a product of low rank added to y, in a forward that does not train;
   * null where it is more. Then there is no `before`, `weight` or `bias`. Where it acts on all of its rows it is asked
   * once, and its factors are read at each forward, until it is attached or the linear renewed.
   */
  lowRank?(ctx: RowContext): LowRank | null;
}

/**
 * An adapter's rows times its rank, up to which all adapters of low rank are added at once: beyond, libtorch's products
 * are faster (docs/log.md). Of small ranks in bf16 they are that later.
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

/** One run's rows of a linear's input, and what acts on them. */
interface Share {
  readonly adapters: readonly LinearAdapter[];
  readonly ctx: RowContext;
  readonly x: Tensor;
  /** x after `before`. */
  readonly input: Tensor;
  /** The adapter that brings a weight of the run's own. */
  readonly owner: WithWeight | undefined;
}

export interface LinearDescription {
  /** Module path as transformers has it: 'model.layers.0.self_attn.q_proj'. */
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  /** Number of the module in its model: keys dropout. */
  readonly index: number;
  readonly weight: Weight;
  readonly bias: Tensor | null;
  /** Whether files store the weight as [in, out]. */
  readonly transposed: boolean;
  /** Of a convolution, which files store as [out, channels, …]: those channels and its window. */
  readonly kernel?: readonly number[] | undefined;
  readonly adaptable?: false | undefined;
}

/** A matrix [out, in] as files have a linear's weight. */
export function asStored({ kernel, transposed }: Orientation, matrix: Tensor): Tensor {
  if (kernel) return reshape(matrix, [-1, ...kernel]);
  return transposed ? transpose(matrix, 0, 1) : matrix;
}

/** The other way round. */
export function asMatrix({ kernel, transposed }: Orientation, stored: Tensor): Tensor {
  if (kernel) return reshape(stored, [stored.shape[0] as number, -1]);
  return transposed ? transpose(stored, 0, 1) : stored;
}

type Orientation = Pick<LinearDescription, 'kernel' | 'transposed'>;

/** y = x Wᵀ + b, and what the runs' adapters make of it. */
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
  /** What was added to the last few rows: the next ones are mostly of the same runs. */
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

  /** Adapters of one run act in the order in which they were attached. */
  attach(run: number, adapter: LinearAdapter): void {
    this.renew();
    const adapters = this.#attached.get(run);
    if (adapters) adapters.push(adapter);
    else this.#attached.set(run, [adapter]);
  }

  /** Its adapters are asked anew what they add to rows. */
  renew(): void {
    this.#last = null;
    this.#call = null;
  }

  detach(run: number): void {
    this.renew();
    this.#attached.delete(run);
  }

  /**
   * What several make of the same rows, as each does alone: by one product where rows are few and runs add no more than
   * products of low rank.
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

  /** What the runs' adapters add to few rows each, as answers have, or nothing; null where they are more than that. */
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

  /** Adds to products of linears that read the same, of which this is the first. */
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

  /** The product of each share: one for all that multiply by the frozen weight. */
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

  /** y + (b' - b): a small change of b' is not lost in y's dtype. */
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
