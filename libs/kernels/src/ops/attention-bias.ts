/** Biases of attention scores, by the distance between key and query or by the key's position. */
import type { Dtype } from '../dtype.js';
import { saved } from '../recompute.js';
import { keep, tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { refuse } from './attention-pattern.js';
import { arange, zeros } from './creation.js';
import { embedding } from './linalg.js';
import { abs, add, clamp, div, gt, log, lt, minimum, mul } from './maths.js';
import { to, transpose, unsqueeze, where } from './shape.js';

/** Caches biases by distance for calls with equal distances, such as the layers of a stack. Its owner disposes it. */
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

/** Bias of an attention score. */
export type AttentionBias = {
  /** Cache for this bias only, valid while its values do not change. */
  readonly cache?: BiasCache;
} &
  /** -slope |distance| (ALiBi, arXiv:2108.12409). */
  (
    | { readonly kind: 'alibi'; /** f32 [H] */ readonly slopes: Tensor }
    /** One table row per bucket of distances, as in T5 (arXiv:1910.10683, appendix); trainable. */
    | {
        readonly kind: 'relative';
        /** [buckets, H] */
        readonly table: Tensor;
        /** Distance from which all distances share one bucket. */
        readonly maxDistance: number;
        /** Whether half of the buckets are for keys after the query. */
        readonly bidirectional: boolean;
      }
    /** Bias by the key's position alone; not trainable. */
    | { readonly kind: 'places'; /** f32 [H, places] */ readonly table: Tensor }
  );

export function reused(bias: AttentionBias, behind: number, ahead: number, dtype: Dtype): Tensor {
  if (bias.kind === 'places') return to(bias.table, dtype);
  const make = (): Tensor => byDistance(bias, behind, ahead, dtype);
  return bias.cache ? bias.cache.of(`${behind} ${ahead} ${dtype}`, make) : make();
}

/** Biases of the distances -behind … ahead, [H, distances]. */
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
 * T5's bucket of each distance: half of them exact, the others in logarithmic steps up to `maxDistance`. Computed in
 * f32 in the same order as Transformers' `_relative_position_bucket`, so that every distance has the same bucket.
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
