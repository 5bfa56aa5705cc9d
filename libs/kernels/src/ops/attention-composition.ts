/** Packed attention as a composition of libtorch's operators, segment by segment. Formulas: attention.ts. */
import type { Tensor } from '../tensor.js';
import { BY_PLACE, offsetOf, seenFrom } from './attention-pattern.js';
import type { AttentionSegment, Pattern, Range } from './attention-pattern.js';
import { arange, ones } from './creation.js';
import { bmm } from './linalg.js';
import { add, clamp, logicalNot, mul, softmax, sub, tanh } from './maths.js';
import { scaledDotProductAttention } from './nn.js';
import {
  cat,
  contiguous,
  indexSelect,
  maskedFill,
  narrow,
  reshape,
  squeeze,
  to,
  transpose,
  tril,
  triu,
  unsqueeze,
  view,
} from './shape.js';

/** Attention composed of libtorch's operators. */
export function segmentBySegment(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  segments: readonly AttentionSegment[],
  pattern: Pattern,
): Tensor {
  const outputs = segments.map((segment) => {
    const { start, rows, keyStart, keyRows, beforeStart, before } = segment;
    const seen = (t: Tensor): Tensor => {
      const own = narrow(t, 0, keyStart, keyRows);
      if (before === 0) return own;
      return keyRows === 0
        ? narrow(t, 0, beforeStart, before)
        : cat([narrow(t, 0, beforeStart, before), own]);
    };
    return attend(narrow(q, 0, start, rows), seen(k), seen(v), offsetOf(segment), pattern);
  });
  return outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs);
}

/** Attention of one segment. q: [S, H, d], with its first query at key `at`; k, v: [K, Hkv, d] → [S, H d] */
function attend(q: Tensor, k: Tensor, v: Tensor, at: number, pattern: Pattern): Tensor {
  const [rows, heads, size] = q.shape as [number, number, number];
  const [, kvHeads] = k.shape as [number, number];
  const all: Range = { from: 0, past: k.shape[0] as number };
  // a single query sees a range of keys, which is faster than a mask
  const { from, past } = rows === 1 ? seenFrom(at, all.past, pattern) : all;
  const place = { rows, count: past - from, offset: at - from };
  const byHead = (t: Tensor): Tensor => unsqueeze(transpose(t, 0, 1), 0);
  const seen = (t: Tensor): Tensor => byHead(narrow(t, 0, from, past - from));
  const { isCausal, mask } = visibility(place, pattern, q);
  const bias = pattern.bias && to(biased(pattern.bias, { ...place, from }, pattern, mask), q.dtype);
  const output =
    pattern.softcap === null
      ? scaledDotProductAttention(byHead(q), seen(k), seen(v), {
          mask: bias ?? mask,
          isCausal,
          scale: pattern.scale,
          enableGqa: heads !== kvHeads,
        })
      : capped(
          byHead(q),
          seen(k),
          seen(v),
          pattern,
          isCausal ? tril(ones([rows, rows], 'bool', q.device)) : mask,
          bias,
        );
  return reshape(transpose(output, 1, 2), [rows, heads * size]);
}

/**
 * Attention with capped scores, which are f32 for every dtype, as in the CPU kernel. q: [1, H, S, d]; k, v: [1, Hkv, K,
 * d]
 */
function capped(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { scale, softcap }: Pattern,
  mask: Tensor | null,
  bias: Tensor | null,
): Tensor {
  const [, heads, rows, size] = q.shape as [number, number, number, number];
  const [, kvHeads, keys] = k.shape as [number, number, number];
  const wide = q.dtype === 'f64' ? 'f64' : 'f32';
  const byGroup = view(reshape(q, [heads * rows * size]), [
    kvHeads,
    (heads / kvHeads) * rows,
    size,
  ]);
  const products = bmm(to(byGroup, wide), to(transpose(squeeze(k, 0), 1, 2), wide));
  const cap = softcap as number;
  const scores = view(mul(tanh(mul(products, scale / cap)), cap), [1, heads, rows, keys]);
  const shifted = bias ? add(scores, to(bias, wide)) : scores;
  const seen = mask ? maskedFill(shifted, logicalNot(mask), -Infinity) : shifted;
  const weights = view(to(softmax(seen), q.dtype), [kvHeads, (heads / kvHeads) * rows, keys]);
  return view(bmm(weights, squeeze(v, 0)), [1, heads, rows, size]);
}

/** Queries `offset` … `offset + rows - 1` over `count` keys. */
interface Place {
  readonly rows: number;
  readonly count: number;
  readonly offset: number;
}

/** Keys that the queries see: all, libtorch's causal pattern, or a mask bool [rows, count]. */
function visibility(
  { rows, count, offset }: Place,
  { causal, window, bias }: Pattern,
  { device }: Tensor,
): { isCausal: boolean; mask: Tensor | null } {
  const furthest = Math.max(offset + rows - 1, causal ? 0 : count - 1 - offset);
  const narrowed = window > 0 && furthest >= window;
  if (rows === 1 || (!causal && !narrowed)) return { isCausal: false, mask: null };
  if (!narrowed && !bias && offset === 0 && rows === count) return { isCausal: true, mask: null };
  const all = ones([rows, count], 'bool', device);
  const past = causal ? tril(all, offset) : tril(all, offset + window - 1);
  return { isCausal: false, mask: narrowed ? triu(past, offset - window + 1) : past };
}

/** Biases of the queries' scores, -∞ where the mask hides a key: [1, H, rows or 1, count] */
function biased(
  bias: Tensor,
  { rows, count, offset, from }: Place & Pick<Range, 'from'>,
  { behind }: Pattern,
  mask: Tensor | null,
): Tensor {
  const [heads, distances] = bias.shape as [number, number];
  if (behind === BY_PLACE) {
    const row = view(contiguous(narrow(bias, 1, from, count)), [1, heads, 1, count]);
    return mask ? maskedFill(row, logicalNot(mask), -Infinity) : row;
  }
  const range = (start: number, n: number): Tensor =>
    arange(start, start + n, 1, 'i64', bias.device);
  const columns = sub(unsqueeze(range(behind, count), 0), unsqueeze(range(offset, rows), 1));
  const inside = view(clamp(columns, 0, distances - 1), [-1]); // the mask hides distances outside
  const matrix = view(indexSelect(bias, 1, inside), [1, heads, rows, count]);
  return mask ? maskedFill(matrix, logicalNot(mask), -Infinity) : matrix;
}
