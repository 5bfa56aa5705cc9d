/** Biases of attention scores by how far a key lies from its query, or by its place. */
import type { Dtype } from '../dtype.js';
import { saved } from '../recompute.js';
import { keep, tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { refuse } from './attention-pattern.js';
import { arange, zeros } from './creation.js';
import { embedding } from './linalg.js';
import { abs, add, clamp, div, gt, log, lt, minimum, mul } from './maths.js';
import { to, transpose, unsqueeze, where } from './shape.js';

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

export function reused(bias: AttentionBias, behind: number, ahead: number, dtype: Dtype): Tensor {
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
