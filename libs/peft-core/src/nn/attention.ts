/**
 * Attention over a packed batch.  o = softmax(q kᵀ · scale) v  for each piece apart, over its own keys up to the
 * query's and over what it shares: its run's virtual tokens, a prefix, or rows already in the cache.
 *
 * q: [T, H, d]  k, v: [T, Hkv, d]  o: [T, H d].  Measured on CPU (libtorch 2.13, S 192 + 100 shared, f32, forward and
 * backward): a boolean mask 7.2 ms, queries padded to make it plain causal 10.5 ms; a mask costs no more than causal.
 */
import {
  bmm,
  call,
  cat,
  narrow,
  permute,
  reshape,
  scaledDotProductAttention,
  softmax,
  split,
  transpose,
  unsqueeze,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { KvCache } from './kv-cache.js';
import type { Layout, Piece } from './layout.js';

export interface AttentionInputs {
  readonly layout: Layout;
  readonly layer: number;
  readonly scale: number;
  /** A query sees this many keys at most, its own included. */
  readonly window: number | null;
  /** The run's virtual keys and values, [p, Hkv, d] each. */
  readonly prefix: (run: number) => KeysValues | undefined;
  readonly cache: KvCache | undefined;
}

export interface KeysValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

export function attention(q: Tensor, k: Tensor, v: Tensor, inputs: AttentionInputs): Tensor {
  const { pieces } = inputs.layout;
  const sizes = pieces.map(({ rows }) => rows);
  const parts = (t: Tensor): Tensor[] => (sizes.length === 1 ? [t] : split(t, sizes));
  const [queries, keys, values] = [parts(q), parts(k), parts(v)];
  const own = (i: number): KeysValues => ({ k: keys[i] as Tensor, v: values[i] as Tensor });
  const outputs = pieces.map((piece, i) => {
    const before: KeysValues[] = [];
    const prefix = piece.prefix > 0 ? inputs.prefix(piece.run) : undefined;
    if (prefix) before.push(prefix);
    if (piece.shared >= 0) before.push(own(piece.shared));
    return attend(queries[i] as Tensor, seen(piece, before, own(i), inputs), inputs);
  });
  return outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs);
}

/** All keys and values a piece sees: what it shares, what is cached, its own. */
function seen(
  piece: Piece,
  before: readonly KeysValues[],
  own: KeysValues,
  { cache, layer }: AttentionInputs,
): KeysValues {
  if (cache && piece.cache !== null) return cache.append(piece.cache, layer, [...before, own]);
  if (before.length === 0) return own;
  return {
    k: cat([...before.map(({ k }) => k), own.k]),
    v: cat([...before.map(({ v }) => v), own.v]),
  };
}

/**
 * Scores of one piece that may be kept for the backward pass (8 MB in bf16). Below it plain products are quicker than
 * libtorch's fused attention on the CPU in bf16, whose inner products are f32 (9 heads of 64 over 3, one core, forward
 * and backward): 64 rows 0.5 against 1.5 ms, 150 rows 2.0 against 5.1, 512 rows 15.5 against 29.1.
 */
const MOST_SCORES = 1 << 22;

/** q: [S, H, d], k and v: [K, Hkv, d], the queries being the last S of K → [S, H d] */
function attend(q: Tensor, keysValues: KeysValues, inputs: AttentionInputs): Tensor {
  const [rows, heads] = q.shape as [number, number, number];
  const count = keysValues.k.shape[0] as number;
  const small = rows > 1 && heads * rows * count <= MOST_SCORES;
  const byProducts = small && q.dtype === 'bf16' && q.device === 'cpu';
  return (byProducts ? products : fused)(q, keysValues, inputs);
}

function fused(
  q: Tensor,
  { k, v }: KeysValues,
  { layout, scale, window }: AttentionInputs,
): Tensor {
  const [rows, heads, size] = q.shape as [number, number, number];
  const [count, kvHeads] = k.shape as [number, number, number];
  const before = count - rows;
  const narrowed = window !== null && count > window;
  // one query at the end sees simply the last keys
  const last =
    rows === 1 && narrowed
      ? (t: Tensor): Tensor => narrow(t, 0, count - window, window)
      : (t: Tensor) => t;
  const byHead = (t: Tensor): Tensor => unsqueeze(transpose(t, 0, 1), 0);
  const masked = rows > 1 && (before > 0 || narrowed);
  const output = scaledDotProductAttention(byHead(q), byHead(last(k)), byHead(last(v)), {
    mask: masked ? layout.mask(rows, before, narrowed ? window : null) : null,
    isCausal: rows > 1 && !masked,
    scale,
    enableGqa: heads !== kvHeads,
  });
  return reshape(transpose(output, 1, 2), [rows, heads * size]);
}

/** The same with the scores in memory. The queries of a group of heads stand as rows under their one key head. */
function products(q: Tensor, { k, v }: KeysValues, inputs: AttentionInputs): Tensor {
  const { layout, scale, window } = inputs;
  const [rows, heads, size] = q.shape as [number, number, number];
  const [count, kvHeads] = k.shape as [number, number, number];
  const group = heads / kvHeads;
  const grouped = transpose(view(q, [rows, kvHeads, group, size]), 0, 1);
  const narrowed = window !== null && count > window ? window : null;
  const mask = layout.summands(rows, count - rows, narrowed, group, q.dtype);
  const scores = baddbmm(
    mask,
    reshape(grouped, [kvHeads, rows * group, size]),
    permute(k, [1, 2, 0]),
    scale,
  );
  const output = bmm(softmax(scores), transpose(v, 0, 1));
  return reshape(transpose(view(output, [kvHeads, rows, group * size]), 0, 1), [
    rows,
    heads * size,
  ]);
}

/** a + alpha · b c, by batch */
const baddbmm = (a: Tensor, b: Tensor, c: Tensor, alpha: number): Tensor =>
  call('aten::baddbmm', a, b, c, 1, alpha) as Tensor;
