/**
 * Attention of single queries, each over its own keys and values in separate memory, during generation.
 *   o_i = Σ_j softmax_j(s_ij) v_ij      s_ij = scale q_i · k_ij, or c tanh(s_ij / c) with a cap c
 * On the CPU, in f32 and bf16 (native/ops/single_attention.cpp). No biases, no gradients.
 */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';
import type { PackedAttentionOptions } from './attention.js';
import { isOwnOnCpu } from './instruction-set.js';

/** Keys and values that one query sees. */
export interface SeenKeys {
  /** [K, Hkv, d]; the last row is the query's own */
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Memory of a sequence's keys and values, [capacity, Hkv, d] each, and the number of rows in use. */
export interface CachedKeys {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly length: number;
}

/** Whether `singleAttention` and `cachedAttention` support these queries. */
export const hasSingle = isOwnOnCpu;

/** q: [T, H, d] → [T, H d] */
export const singleAttention = (
  q: Tensor,
  seen: readonly SeenKeys[],
  { scale, window = 0, softcap = null }: Omit<PackedAttentionOptions, 'bias'>,
): Tensor =>
  one(
    'graft::single_attention',
    q,
    seen.map(({ k }) => k),
    seen.map(({ v }) => v),
    seen.map(({ k }) => (window > 0 ? Math.max(0, (k.shape[0] as number) - window) : 0)),
    scale,
    softcap ?? 0,
  );

/**
 * Processes the next row of each sequence: rotates q and k by their positions (ops/rotary.ts), appends k and v to the
 * cache, and computes attention over all rows.  q: [T, H, d]  k, v: [T, Hkv d], by heads or not → [T, H d]
 */
export const cachedAttention = (
  q: Tensor,
  own: { readonly k: Tensor; readonly v: Tensor },
  rotation: { readonly cos: Tensor; readonly sin: Tensor } | null,
  caches: readonly CachedKeys[],
  { scale, window = 0, softcap = null }: Omit<PackedAttentionOptions, 'bias'>,
): Tensor =>
  one(
    'graft::cached_attention',
    q,
    own.k,
    own.v,
    rotation?.cos ?? null,
    rotation?.sin ?? null,
    caches.map(({ k }) => k),
    caches.map(({ v }) => v),
    caches.map(({ length }) => length),
    window,
    scale,
    softcap ?? 0,
  );
