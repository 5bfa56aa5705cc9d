/**
 * Attention over a packed batch.  o = softmax(q kᵀ · scale) v  for each piece apart, over its own keys up to the
 * query's and over what it shares: its run's virtual tokens, a prefix, or rows already in the cache.
 *
 * q: [T, H, d]  k, v: [T, Hkv, d]  o: [T, H d].  Training on the CPU takes all pieces in one kernel; generation and
 * other devices take libtorch's attention piece by piece.
 */
import {
  cat,
  hasPackedAttention,
  narrow,
  packedAttention,
  reshape,
  scaledDotProductAttention,
  split,
  transpose,
  unsqueeze,
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
  const isOneRange = pieces.every(({ prefix, shared }) => prefix === 0 || shared < 0);
  if (!inputs.cache && isOneRange && hasPackedAttention(q)) return packed(q, k, v, inputs);
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

/** All pieces in one kernel: the runs' prefixes, once each, stand before the rows of the batch. */
function packed(q: Tensor, k: Tensor, v: Tensor, inputs: AttentionInputs): Tensor {
  const { layout, scale, window, prefix } = inputs;
  const prefixes = new Map<number, { at: number; keysValues: KeysValues }>();
  let rows = 0;
  for (const { run, prefix: length } of layout.pieces) {
    const keysValues = length > 0 && !prefixes.has(run) ? prefix(run) : undefined;
    if (!keysValues) continue;
    prefixes.set(run, { at: rows, keysValues });
    rows += length;
  }
  const joined = (own: Tensor, part: 'k' | 'v'): Tensor =>
    rows === 0
      ? own
      : cat([...[...prefixes.values()].map(({ keysValues }) => keysValues[part]), own]);
  const starts: number[] = [];
  let start = 0;
  const pieces = layout.pieces.map((piece) => {
    starts.push(start);
    start += piece.rows;
    const beforeStart =
      piece.shared >= 0
        ? rows + (starts[piece.shared] as number)
        : (prefixes.get(piece.run)?.at ?? 0);
    const before = piece.shared >= 0 ? (layout.pieces[piece.shared]?.rows ?? 0) : piece.prefix;
    return { start: start - piece.rows, rows: piece.rows, beforeStart, before };
  });
  return packedAttention(q, joined(k, 'k'), joined(v, 'v'), pieces, { scale, window: window ?? 0 });
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

/** q: [S, H, d], k and v: [K, Hkv, d], the queries being the last S of K → [S, H d] */
function attend(
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
