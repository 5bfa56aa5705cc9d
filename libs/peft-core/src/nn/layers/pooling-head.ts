/**
 * Pooling of an image's rows into one row, by attention of a learned query over all rows (SigLIP,
 * arXiv:2303.15343):
 *
 *   a = softmax((q Wq + bq)(X Wk + bk)ᵀ / √d) (X Wv + bv) Wo + bo     by heads;  q: [1, D]  X: [n, D]
 *   y = a + down(act(up(norm(a))))                                   y: [D]
 *
 * The matrices of attention are parameters, as in PyTorch's MultiheadAttention, so adapters of linear layers
 * cannot target them.
 */
import { add, linear, matmul, mul, narrow, permute, reshape, softmax, to, transpose, view } from '@graft/kernels'; // prettier-ignore
import type { Tensor } from '@graft/kernels';
import type { Sequence } from '../batch.js';
import type { Embedding } from './embedding.js';
import { feedForward } from './feed-forward.js';
import type { ForwardContext } from '../context.js';
import type { Linear } from './linear.js';
import type { Norm } from './norm.js';
import type { ModuleMaker } from '../outline/description.js';
import { byRun } from '../rows.js';
import type { StackOptions } from '../outline/stack-options.js';

export interface PoolingHeadPaths {
  readonly probe: string;
  /** Module with the parameters in_proj_weight, in_proj_bias, out_proj.weight and out_proj.bias. */
  readonly attention: string;
  readonly norm: string;
  readonly up: string;
  readonly down: string;
}

export interface PoolingHeadModules<L, N, E> {
  readonly probe: E;
  readonly into: readonly [weight: E, bias: E];
  readonly out: readonly [weight: E, bias: E];
  readonly norm: N;
  readonly up: L;
  readonly down: L;
}

export function describePoolingHead<L, N, E, X>(
  { hiddenSize: width, intermediateSize: inner, norm: kind, normEps: eps }: StackOptions,
  paths: PoolingHeadPaths,
  make: ModuleMaker<L, N, E, X>,
): PoolingHeadModules<L, N, E> {
  const parameter = (path: string, shape: readonly number[]): E =>
    make.embedding({
      path,
      rows: shape.reduce((product, n) => product * n, 1) / (shape.at(-1) as number),
      columns: shape.at(-1) as number,
      parameter: shape,
    });
  const between = (role: 'up' | 'down', path: string, inFeatures: number, outFeatures: number): L =>
    make.linear({ path, role, layer: null, inFeatures, outFeatures, hasBias: true, transposed: false }); // prettier-ignore
  const { attention } = paths;
  return {
    probe: parameter(paths.probe, [1, 1, width]),
    into: [
      parameter(`${attention}.in_proj_weight`, [3 * width, width]),
      parameter(`${attention}.in_proj_bias`, [3 * width]),
    ],
    out: [
      parameter(`${attention}.out_proj.weight`, [width, width]),
      parameter(`${attention}.out_proj.bias`, [width]),
    ],
    norm: make.norm({ path: paths.norm, kind, eps, features: width, hasBias: true }),
    up: between('up', paths.up, width, inner),
    down: between('down', paths.down, inner, width),
  };
}

export class PoolingHead {
  constructor(
    private readonly options: StackOptions,
    private readonly modules: PoolingHeadModules<Linear, Norm, Embedding>,
  ) {}

  /**
   * Returns one row per sequence, [sequences, D], from rows [T, D] of sequences of equal length. `ctx.rows`
   * are ranges of sequences by run.
   */
  forward(hidden: Tensor, sequences: readonly Sequence[], ctx: ForwardContext): Tensor {
    const [, width] = hidden.shape as [number, number];
    const { norm, up, down } = this.modules;
    const rows = view(hidden, [sequences.length, -1, width]);
    const seen = byRun(rows, ctx, (own, run) => this.#attended(own, run));
    const dense = { experts: null, gate: null, up, down };
    return add(seen, feedForward(dense, norm.forward(seen, ctx), this.options, ctx));
  }

  /** [n, rows, D] → [n, D] */
  #attended(x: Tensor, run: number): Tensor {
    const [count, length, width] = x.shape as [number, number, number];
    const { heads } = this.options;
    const { probe, into, out } = this.modules;
    const of = (parameter: Embedding): Tensor => to(parameter.of(run), x.dtype);
    const [weight, bias] = into.map(of) as [Tensor, Tensor];
    const projected = (rows: Tensor, part: number): Tensor =>
      linear(rows, narrow(weight, 0, part * width, width), narrow(bias, 0, part * width, width));
    const size = width / heads;
    const query = view(projected(reshape(of(probe), [1, width]), 0), [1, heads, size, 1]);
    const split = (part: number): Tensor =>
      permute(view(projected(x, part), [count, length, heads, size]), [0, 2, 1, 3]);
    const scores = mul(matmul(split(1), query), 1 / Math.sqrt(size));
    const read = matmul(transpose(softmax(scores, 2), 2, 3), split(2));
    return linear(reshape(read, [count, width]), of(out[0]), of(out[1]));
  }
}
