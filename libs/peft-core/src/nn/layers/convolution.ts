/**
 * Gated short convolution that replaces attention, as in LFM2 (arXiv:2511.23404):
 *
 *   [b ; c ; u] = into(n)     g = b ⊙ u     y_t = Σ_j k_j ⊙ g_(t-j),  j < K     out(c ⊙ y)
 *
 * n: [T, D]   k: [D, 1, K], whose last column is k_0; sums in f32. g is 0 before a sequence's first row. The
 * run's virtual tokens and the rows in the cache precede a sequence. No row sees another sequence's rows.
 */
import {
  add,
  cat,
  indexSelect,
  mul,
  reshape,
  select,
  split,
  tensor,
  to,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import type { Embedding } from './embedding.js';
import type { KvCache } from '../kv-cache.js';
import type { PackedLayout, Segment } from '../layout.js';
import type { Linear } from './linear.js';
import type { Norm } from './norm.js';
import type { ConvolutionModules } from '../outline/description.js';
import { byRun } from '../rows.js';

export type Convolving = ConvolutionModules<Linear, Norm, Embedding>;

interface Around {
  readonly layout: PackedLayout;
  readonly ctx: ForwardContext;
  readonly layer: number;
  readonly cache: KvCache | undefined;
}

/** n: [T, D] → [T, D] */
export function convolve({ into, kernel, out }: Convolving, n: Tensor, around: Around): Tensor {
  const { ctx } = around;
  const size = n.shape[1] as number;
  const [b, c, u] = split(into.forward(n, ctx), size, 1) as [Tensor, Tensor, Tensor];
  return out.forward(mul(c, convolved(mul(b, u), kernel, around)), ctx);
}

function convolved(g: Tensor, kernel: Embedding, around: Around): Tensor {
  const { ctx, layout, layer, cache } = around;
  const width = kernel.weight.shape[2] as number;
  const { rows, places } = sources(g, width, around);
  const at = (list: readonly number[]): Tensor =>
    indexSelect(rows, 0, tensor(Int32Array.from(list), [list.length]));
  layout.segments.forEach((segment, i) => {
    const last = Array.from({ length: width - 1 }, (_, j) => segment.rows - (width - 1) + j);
    if (cache && segment.cache !== null && width > 1)
      cache.storeState(segment.cache, layer, at(last.map((row) => places(i, row))));
  });
  const taps = Array.from({ length: width }, (_, j) =>
    at(
      layout.segments.flatMap((segment, i) =>
        Array.from({ length: segment.rows }, (__, row) => places(i, row - (width - 1 - j))),
      ),
    ),
  );
  const summed = (parts: readonly Tensor[], weight: Tensor): Tensor => {
    const k = reshape(to(weight, 'f32'), [-1, width]);
    const products = parts.map((part, j) => mul(to(part, 'f32'), select(k, 1, j)));
    return to(
      products.reduce((sum, product) => add(sum, product)),
      g.dtype,
    );
  };
  const isShared = ctx.rows.every(({ run }) => kernel.of(run) === kernel.weight);
  if (isShared) return summed(taps, kernel.weight);
  const size = g.shape[1] as number;
  return byRun(cat(taps, 1), ctx, (both, run) => summed(split(both, size, 1), kernel.of(run)));
}

/**
 * Returns all rows that any row sees, and the index in them of a segment's row. Negative rows precede the
 * segment's first row.
 */
function sources(
  g: Tensor,
  width: number,
  { layout, layer, cache }: Around,
): { rows: Tensor; places: (segment: number, row: number) => number } {
  const { segments } = layout;
  const none = zeros([1, g.shape[1] as number], g.dtype);
  const states: Tensor[] = [];
  // start of the segment's cached state, after the row of zeros
  const kept = segments.map(({ cache: handle }) => {
    const state = handle === null ? undefined : cache?.state(handle, layer);
    return state ? 1 + (width - 1) * (states.push(state) - 1) : null;
  });
  let at = 1 + (width - 1) * states.length;
  const starts = segments.map(({ rows }) => (at += rows) - rows);
  const places = (i: number, row: number): number => {
    if (row >= 0) return (starts[i] as number) + row;
    const before = kept[i] ?? null;
    if (before !== null) return before + width - 1 + row;
    const { shared } = segments[i] as Segment;
    return shared < 0 ? 0 : places(shared, (segments[shared] as Segment).rows + row);
  };
  return { rows: cat([none, ...states, g]), places };
}
