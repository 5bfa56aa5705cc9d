/**
 * Attention over a packed batch: one operator for causal, bidirectional, self and cross attention, windows, biases by
 * distance and shared key ranges, without padding.
 *   o_i = Σ_j softmax_j(scale q_i · k_j + b(j - i)) v_j      over the keys j that query i sees
 * b can also be b(j), by the key's position. With a score cap c (arXiv:2408.00118), scores are c tanh(s / c) with s =
 * scale q_i · k_j, without b.
 * q: [T, H, d]  k, v: [K, Hkv, d]  o: [T, H d]. A segment's keys are those before its own, then its own; j and i count
 * from the first of them. On the CPU and CUDA, in f32 and bf16, native/ops/attention.cpp computes all segments
 * together. Other devices and dtypes, and single queries over many keys, use libtorch's attention segment by segment.
 */
import { one } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { reused } from './attention-bias.js';
import type { AttentionBias } from './attention-bias.js';
import { segmentBySegment } from './attention-composition.js';
import { BY_PLACE, keysOf, offsetOf, refuse, seenFrom } from './attention-pattern.js';
import type { AttentionSegment, Pattern } from './attention-pattern.js';
import { isOwn } from './instruction-set.js';

export interface PackedAttentionOptions {
  readonly scale: number;
  /** Whether a query sees only keys up to its own position. Default: true. */
  readonly causal?: boolean;
  /** Number of nearest keys that a query sees, including its own position; 0 means all. */
  readonly window?: number;
  readonly bias?: AttentionBias | null;
  /** Limit of the scores, ± this value. */
  readonly softcap?: number | null;
}

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

/** Whether libtorch is faster: it does not pack keys, which only pays off for several queries. */
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

/** @throws KernelError if segments do not fit the tensors, or if a query sees no key */
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

/** Largest distances between a query and the keys that it sees, before and after it. */
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
