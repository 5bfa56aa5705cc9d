/**
 * Attention over a packed batch: one operator for causal and bidirectional attention, self and cross, windows, biases
 * by distance and shared ranges of keys, without padding.
 *
 *   o_i = Σ_j softmax_j(scale q_i · k_j + b(j - i)) v_j      over the keys j that query i sees
 *
 * or b(j), by the key's place alone; or, with a cap c of the scores (arXiv:2408.00118), c tanh(s / c) in place of
 * s = scale q_i · k_j.
 *
 * q: [T, H, d]  k, v: [K, Hkv, d]  o: [T, H d].  A segment's keys are those before its own, then its own, and j and i
 * count from the first of them. On the CPU and CUDA, in f32 and bf16, native/ops/attention.cpp computes all segments at
 * once; other devices and dtypes, and single queries over many keys, take libtorch's attention segment by segment.
 */
import { one } from '../call.js';
import type { Dtype } from '../dtype.js';
import { KernelError } from '../errors.js';
import { saved } from '../recompute.js';
import { keep, tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { arange, ones, zeros } from './creation.js';
import { isOwn } from './instruction-set.js';
import { bmm, embedding } from './linalg.js';
import {
  abs,
  add,
  clamp,
  div,
  gt,
  log,
  logicalNot,
  lt,
  minimum,
  mul,
  softmax,
  sub,
  tanh,
} from './maths.js';
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
  where,
} from './shape.js';

/** Rows of a packed batch that attend to the same keys. */
export interface AttentionSegment {
  /** First query; segments follow each other. */
  readonly start: number;
  readonly rows: number;
  /** Its own keys. */
  readonly keyStart: number;
  readonly keyRows: number;
  /** Keys that it sees before its own, which others may see, too: a prefix, or virtual tokens. */
  readonly beforeStart: number;
  readonly before: number;
  /** Where its first query stands among its keys. Default: its last query stands at its last key. */
  readonly offset?: number;
}

/** Biases worked out by distance, for calls that ask for the same ones: the layers of a stack. Its owner disposes it. */
export class BiasCache {
  readonly #made = new Map<string, Tensor>();

  of(key: string, make: () => Tensor): Tensor {
    const made = this.#made.get(key) ?? keep(saved(() => tidy(make)));
    this.#made.set(key, made);
    return made;
  }

  dispose(): void {
    for (const made of this.#made.values()) made.dispose();
    this.#made.clear();
  }
}

/** What is added to a score, by how far its key lies from its query. */
export type AttentionBias = {
  /** Of this bias alone, while its numbers stay. */
  readonly cache?: BiasCache;
} &
  /** -slope |distance|, arXiv:2108.12409. */
  (
    | { readonly kind: 'alibi'; /** f32 [H] */ readonly slopes: Tensor }
    /** A row of a table for each bucket of distances, as T5 has it (arXiv:1910.10683, appendix); it can be trained. */
    | {
        readonly kind: 'relative';
        /** [buckets, H] */
        readonly table: Tensor;
        /** Distances from here on share a bucket. */
        readonly maxDistance: number;
        /** Half of the buckets are for keys after the query. */
        readonly bidirectional: boolean;
      }
    /** By the place of the key alone, whatever the query's; it is not trained. */
    | { readonly kind: 'places'; /** f32 [H, places] */ readonly table: Tensor }
  );

export interface PackedAttentionOptions {
  readonly scale: number;
  /** A query sees no key after its own place. Default: true. */
  readonly causal?: boolean;
  /** A query sees keys nearer than this, its own place included; 0: all. */
  readonly window?: number;
  readonly bias?: AttentionBias | null;
  /** Scores are kept within ± this. */
  readonly softcap?: number | null;
}

/** The same with defaults, and how far away keys may be. */
interface Pattern {
  readonly scale: number;
  readonly causal: boolean;
  readonly window: number;
  /** f32 or f64 [H, distances], the first one being -behind; or [H, places] where that is BY_PLACE. */
  readonly bias: Tensor | null;
  readonly behind: number;
  readonly softcap: number | null;
}

const BY_PLACE = -1;

export const packedAttention = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  segments: readonly AttentionSegment[],
  { scale, causal = true, window = 0, bias = null, softcap = null }: PackedAttentionOptions,
): Tensor =>
  tidy(() => {
    check(q, k, segments, { causal, window, bias });
    const [behind, ahead] = reach(segments, causal, window);
    const pattern: Pattern = {
      scale,
      causal,
      window,
      behind: bias?.kind === 'places' ? BY_PLACE : behind,
      softcap,
      bias: bias && reused(bias, behind, ahead, q.dtype === 'f64' ? 'f64' : 'f32'),
    };
    return isOwn(q) && !(softcap !== null && bias) && !segments.every(isSingle)
      ? own(q, k, v, segments, pattern)
      : segmentBySegment(q, k, v, segments, pattern);
  });

/** Whether libtorch is quicker: it does not pack keys, which pays for several queries only. */
const isSingle = ({ rows, keyRows }: AttentionSegment): boolean => rows === 1 && keyRows > 1;

const own = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  segments: readonly AttentionSegment[],
  { scale, causal, window, bias, behind, softcap }: Pattern,
): Tensor =>
  one(
    'graft::attention',
    q,
    k,
    v,
    bias,
    segments.flatMap((segment) => {
      const { start, rows, keyStart, keyRows, beforeStart, before } = segment;
      return [start, rows, keyStart, keyRows, beforeStart, before, offsetOf(segment)];
    }),
    scale,
    causal,
    window,
    behind,
    ...(softcap === null ? [] : [softcap]),
  );

const refuse = (message: string): never => {
  throw new KernelError('packedAttention', `packedAttention: ${message}`);
};

/** @throws KernelError when segments do not fit the tensors, or a query sees no key. */
function check(
  q: Tensor,
  k: Tensor,
  segments: readonly AttentionSegment[],
  { causal, window, bias }: Pick<Required<PackedAttentionOptions>, 'causal' | 'window' | 'bias'>,
): void {
  const [queries, heads] = q.shape as [number, number];
  const keys = k.shape[0] as number;
  let at = 0;
  for (const [i, segment] of segments.entries()) {
    const { start, rows, keyStart, keyRows, beforeStart, before } = segment;
    const fail = (message: string): never => refuse(`segment ${i} ${message}`);
    if (start !== at) fail(`starts at ${start}, expected ${at}`);
    if (rows < 1) fail('has no queries');
    if (keyRows < 0 || keyStart < 0 || keyStart + keyRows > keys)
      fail(`has keys out of range (${keys} keys)`);
    if (before < 0 || beforeStart < 0 || beforeStart + before > keys)
      fail(`has preceding keys out of range (${keys} keys)`);
    const [first, last] = [offsetOf(segment), offsetOf(segment) + rows - 1];
    const count = keysOf(segment);
    const reaches = (place: number): boolean => {
      const { from, past } = seenFrom(place, count, { causal, window });
      return from < past;
    };
    if (causal && (first < 0 || last >= count))
      fail(
        `has queries at positions ${first} to ${last} with ${count} keys, out of range for causal attention`,
      );
    if (!reaches(first) || !reaches(last)) fail('has a query with no visible keys');
    at += rows;
  }
  if (at !== queries) refuse(`segments cover ${at} rows, but there are ${queries} queries`);
  if (!bias) return;
  const width =
    bias.kind === 'alibi'
      ? bias.slopes.size
      : (bias.table.shape[bias.kind === 'places' ? 0 : 1] as number);
  if (width !== heads) refuse(`the bias has ${width} heads, the queries have ${heads}`);
  if (bias.kind !== 'places') return;
  if (bias.table.requiresGrad) refuse('a bias by places is not trained');
  const [places, needed] = [bias.table.shape[1] as number, Math.max(...segments.map(keysOf))];
  if (places < needed) refuse(`the bias has ${places} places, ${needed} are needed`);
}

const keysOf = ({ before, keyRows }: AttentionSegment): number => before + keyRows;
const offsetOf = (segment: AttentionSegment): number =>
  segment.offset ?? keysOf(segment) - segment.rows;

/** The largest distances to keys before and after a query that sees them. */
function reach(
  segments: readonly AttentionSegment[],
  causal: boolean,
  window: number,
): [behind: number, ahead: number] {
  const most = window > 0 ? window - 1 : Infinity;
  let [behind, ahead] = [0, 0];
  for (const segment of segments) {
    behind = Math.max(behind, offsetOf(segment) + segment.rows - 1);
    ahead = Math.max(ahead, keysOf(segment) - 1 - offsetOf(segment));
  }
  return [Math.min(behind, most), causal ? 0 : Math.min(ahead, most)];
}

function reused(bias: AttentionBias, behind: number, ahead: number, dtype: Dtype): Tensor {
  if (bias.kind === 'places') return to(bias.table, dtype);
  const make = (): Tensor => byDistance(bias, behind, ahead, dtype);
  return bias.cache ? bias.cache.of(`${behind} ${ahead} ${dtype}`, make) : make();
}

/** b of the distances -behind … ahead, [H, distances]. */
function byDistance(
  bias: Exclude<AttentionBias, { readonly kind: 'places' }>,
  behind: number,
  ahead: number,
  dtype: Dtype,
): Tensor {
  const device = bias.kind === 'alibi' ? bias.slopes.device : bias.table.device;
  const distances = arange(-behind, ahead + 1, 1, 'i64', device);
  if (bias.kind === 'alibi')
    return mul(unsqueeze(to(bias.slopes, dtype), 1), to(mul(abs(distances), -1), dtype));
  const { table, maxDistance, bidirectional } = bias;
  const rows = relativeBuckets(distances, table.shape[0] as number, maxDistance, bidirectional);
  return transpose(embedding(to(table, dtype), rows), 0, 1);
}

/**
 * T5's bucket of each distance: half of them exact, the rest in logarithmic steps up to `maxDistance`.
 * In f32 and in the order of transformers' `_relative_position_bucket`, so that no distance changes its bucket.
 */
export function relativeBuckets(
  distances: Tensor,
  buckets: number,
  maxDistance: number,
  bidirectional: boolean,
): Tensor {
  const count = bidirectional ? Math.floor(buckets / 2) : buckets;
  const exact = Math.floor(count / 2);
  if (exact < 1 || maxDistance <= exact)
    refuse(`${buckets} buckets do not fit distances up to ${maxDistance}`);
  return tidy(() => {
    const far = bidirectional
      ? abs(distances)
      : mul(minimum(distances, zeros([1], 'i64', distances.device)), -1);
    const steps = div(log(div(to(far, 'f32'), exact)), Math.log(maxDistance / exact));
    const large = add(to(mul(steps, count - exact), 'i64'), exact);
    const bucket = where(lt(far, exact), far, clamp(large, undefined, count - 1));
    return bidirectional ? add(bucket, mul(to(gt(distances, 0), 'i64'), count)) : bucket;
  });
}

/** The composition of libtorch's operators. */
function segmentBySegment(
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

/** One segment. q: [S, H, d], its first query at key `at`; k, v: [K, Hkv, d] → [S, H d] */
function attend(q: Tensor, k: Tensor, v: Tensor, at: number, pattern: Pattern): Tensor {
  const [rows, heads, size] = q.shape as [number, number, number];
  const [, kvHeads] = k.shape as [number, number];
  const all: Range = { from: 0, past: k.shape[0] as number };
  // a single query sees a range of keys, which is quicker than a mask
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

/** The same with capped scores, which are f32 whatever the dtype, as those of the CPU's kernel are. q: [1, H, S, d]; k, v: [1, Hkv, K, d] */
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

interface Range {
  readonly from: number;
  readonly past: number;
}

/** The keys, of `count`, that a query at key `at` sees. */
function seenFrom(
  at: number,
  count: number,
  { causal, window }: Pick<Pattern, 'causal' | 'window'>,
): Range {
  const ahead = causal ? 1 : window > 0 ? window : Infinity;
  return { from: window > 0 ? Math.max(0, at - window + 1) : 0, past: Math.min(count, at + ahead) };
}

/** Queries `offset` … `offset + rows - 1` over `count` keys. */
interface Place {
  readonly rows: number;
  readonly count: number;
  readonly offset: number;
}

/** Which keys the queries see: all, those that libtorch calls causal, or a mask bool [rows, count]. */
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

/** The biases of the queries' scores, -∞ where the mask hides a key: [1, H, rows or 1, count] */
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
  const inside = view(clamp(columns, 0, distances - 1), [-1]); // the mask hides what lies outside
  const matrix = view(indexSelect(bias, 1, inside), [1, heads, rows, count]);
  return mask ? maskedFill(matrix, logicalNot(mask), -Infinity) : matrix;
}
