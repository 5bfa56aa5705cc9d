/**
 * Attention over a stack's segments:  o = softmax(q kᵀ · scale + bias) v  for each segment separately. A
 * segment sees its own keys and those before them (its run's virtual tokens, a prefix, or rows in the cache).
 * In cross-attention it sees the keys of its encoder sequence.
 *
 * q: [T, H, d]  k, v: [T, Hkv, d], or [p, H, d] for some prefixes  o: [T, H d].  One operator call for all
 * segments, except in generation, where the cache stores keys per sequence.
 */
import {
  cachedAttention,
  cat,
  hasSingle,
  isGradEnabled,
  narrow,
  packedAttention,
  repeatInterleave,
  singleAttention,
  split,
} from '@graft/kernels';
import type { AttentionBias, AttentionSegment, Tensor } from '@graft/kernels';
import type { KvCache } from '../kv-cache.js';
import type { PackedLayout, Segment } from '../layout.js';
import type { RotaryCache } from './rope.js';

export interface KeysValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Options of attention scores. */
export interface AttentionPattern {
  readonly scale: number;
  readonly causal: boolean;
  /** Largest number of keys that a query sees, including its own. */
  readonly window?: number | null;
  /** Limits scores to ± this value. */
  readonly softcap?: number | null;
  /** Returns the bias of a run, which differs by run if the run trains the table. */
  readonly bias?: (run: number) => AttentionBias;
}

/** Context of a layer's attention: everything besides its own rows. */
export interface Surroundings {
  readonly layout: PackedLayout;
  /** Index of the layer in the cache. */
  readonly kept: number;
  /** Returns the run's virtual keys and values, [p, Hkv, d] or [p, H, d] each. */
  readonly prefix: (run: number) => KeysValues | undefined;
  readonly cache: KvCache | undefined;
}

export function selfAttention(
  q: Tensor,
  own: KeysValues,
  pattern: AttentionPattern,
  around: Surroundings,
): Tensor {
  return around.cache
    ? throughCache(q, own, pattern, around, around.cache)
    : packed(q, own, pattern, around);
}

/**
 * Attention for rows that each continue a sequence of the cache by one row. q and k are not rotated yet.
 * Returns null for any other rows.
 * q: [T, H d]  k, v: [T, Hkv d], by heads or not → [T, H d]
 */
export function nextRows(
  q: Tensor,
  own: KeysValues,
  rotary: RotaryCache | null,
  { scale, window, softcap, bias }: AttentionPattern,
  { layout: { segments }, kept, prefix, cache }: Surroundings,
): Tensor | null {
  if (!cache || bias || isGradEnabled() || !hasSingle(q)) return null;
  const isNext = ({ run, rows, shared, cache: handle }: Segment): boolean =>
    rows === 1 && shared < 0 && handle !== null && prefix(run) === undefined;
  if (!segments.every(isNext)) return null;
  const caches = segments.map((segment) => cache.next(segment.cache as number, kept));
  const size = caches[0]?.k.shape[2];
  if (rotary && rotary.cos.shape[2] !== size) return null;
  const options = { scale, window: window ?? 0, softcap: softcap ?? null };
  return cachedAttention(q, own, rotary, caches, options);
}

/** A run's prefix is inserted once, before its rows, so that all that its sequences share is contiguous. */
function packed(
  q: Tensor,
  own: KeysValues,
  pattern: AttentionPattern,
  { layout, prefix }: Surroundings,
): Tensor {
  const { rows: runs, segments } = layout;
  const prefixed = new Set(segments.filter((each) => each.prefix > 0).map(({ run }) => run));
  const prefixes = runs.map(({ run }) => (prefixed.has(run) ? prefix(run) : undefined));
  const isPlain = prefixes.every((each) => each === undefined);
  const keys = isPlain ? own : withPrefixes(own, runs, prefixes);
  let [start, run, shift, prefixStart] = [0, -1, 0, 0];
  const places: AttentionSegment[] = [];
  for (const segment of segments) {
    if (runs[run]?.run !== segment.run) {
      prefixStart = start + shift;
      shift += prefixes[++run]?.k.shape[0] ?? 0;
    }
    const { rows } = segment;
    const mine = { start, rows, keyStart: start + shift, keyRows: rows };
    const shared = places[segment.shared];
    places.push(
      shared
        ? {
            ...mine,
            beforeStart: shared.keyStart - shared.before,
            before: shared.before + shared.rows,
          }
        : { ...mine, beforeStart: prefixStart, before: segment.prefix },
    );
    start += rows;
  }
  return attend(q, keys, places, segments, pattern);
}

/** Returns keys and values of all runs, with each run's prefix before its own rows. */
function withPrefixes(
  own: KeysValues,
  runs: PackedLayout['rows'],
  prefixes: readonly (KeysValues | undefined)[],
): KeysValues {
  const sizes = runs.map(({ length }) => length);
  const [ks, vs] = [parts(own.k, sizes), parts(own.v, sizes)];
  const all = runs.flatMap((_, i): KeysValues[] => {
    const [given, rows] = [prefixes[i], { k: ks[i] as Tensor, v: vs[i] as Tensor }];
    return given ? [given, rows] : [rows];
  });
  const heads = Math.max(...all.map(headsOf));
  return joinedOf(all.map((each) => withHeads(each, heads)));
}

function throughCache(
  q: Tensor,
  own: KeysValues,
  pattern: AttentionPattern,
  { layout, kept, prefix }: Surroundings,
  cache: KvCache,
): Tensor {
  const sizes = layout.segments.map(({ rows }) => rows);
  const [queries, keys, values] = [q, own.k, own.v].map((t) => parts(t, sizes)) as Parts;
  const rowsOf = (i: number): KeysValues => ({ k: keys[i] as Tensor, v: values[i] as Tensor });
  const seen = layout.segments.map((segment, i): KeysValues => {
    const given = prefix(segment.run);
    const before = [
      ...(given && segment.prefix > 0 ? [given] : []),
      ...(segment.shared >= 0 ? [rowsOf(segment.shared)] : []),
      rowsOf(i),
    ].map((each) => withHeads(each, headsOf(given ?? own)));
    return segment.cache === null ? joinedOf(before) : cache.append(segment.cache, kept, before);
  });
  return eachAlone(queries, seen, layout.segments, pattern);
}

/** Attention for segments with separate keys. Single queries share one call, if the kernel supports them. */
function eachAlone(
  queries: readonly Tensor[],
  seen: readonly KeysValues[],
  segments: readonly Segment[],
  pattern: AttentionPattern,
): Tensor {
  const { scale, window, softcap, bias } = pattern;
  const [first] = queries as [Tensor];
  const heads = headsOf(seen[0] as KeysValues);
  // keys without a cache, such as those of a single virtual token, may be strided views of a fused projection
  const isIn = (i: number): boolean => {
    const { rows, cache } = segments[i] as Segment;
    return rows === 1 && cache !== null && headsOf(seen[i] as KeysValues) === heads;
  };
  const singles = !bias && hasSingle(first) ? [...seen.keys()].filter(isIn) : [];
  const together =
    singles.length > 0
      ? singleAttention(
          joined(singles.map((i) => queries[i] as Tensor)),
          singles.map((i) => seen[i] as KeysValues),
          { scale, window: window ?? 0, softcap: softcap ?? null },
        )
      : null;
  if (together && singles.length === segments.length) return together;
  const rows = new Map(singles.map((i, row) => [i, row]));
  return joined(
    segments.map((segment, i) => {
      const row = rows.get(i);
      return together && row !== undefined
        ? narrow(together, 0, row, 1)
        : alone(queries[i] as Tensor, seen[i] as KeysValues, segment, pattern);
    }),
  );
}

const joined = (outputs: readonly Tensor[]): Tensor =>
  outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs);

/** Attention over each segment's encoder keys: rows of the batch's encoder keys, or keys in the cache. */
export function crossAttention(
  q: Tensor,
  memory: (KeysValues & { readonly rows: readonly { start: number; length: number }[] }) | null,
  pattern: AttentionPattern,
  { layout, kept: layer, cache }: Pick<Surroundings, 'layout' | 'kept' | 'cache'>,
): Tensor {
  const { segments } = layout;
  if (memory && segments.every(({ cache: handle }) => handle === null)) {
    let start = 0;
    const places = segments.map(({ rows }, i): AttentionSegment => {
      const keys = memory.rows[i] as { start: number; length: number };
      start += rows;
      const own = { keyStart: keys.start, keyRows: keys.length };
      return { start: start - rows, rows, ...own, beforeStart: 0, before: 0 };
    });
    return attend(q, memory, places, segments, pattern);
  }
  const queries = parts(
    q,
    segments.map(({ rows }) => rows),
  );
  const keys = segments.map((segment) => (cache as KvCache).memory(segment.cache as number, layer));
  return eachAlone(queries, keys, segments, pattern);
}

type Parts = [Tensor[], Tensor[], Tensor[]];
const parts = (t: Tensor, sizes: readonly number[]): Tensor[] =>
  sizes.length === 1 ? [t] : split(t, sizes);

const joinedOf = (all: readonly KeysValues[]): KeysValues =>
  all.length === 1
    ? (all[0] as KeysValues)
    : { k: cat(all.map(({ k }) => k)), v: cat(all.map(({ v }) => v)) };

const headsOf = ({ k }: KeysValues): number => k.shape[1] as number;

/** Repeats each key head for the query heads that it serves. */
function withHeads({ k, v }: KeysValues, heads: number): KeysValues {
  const times = heads / headsOf({ k, v });
  if (times === 1) return { k, v };
  return { k: repeatInterleave(k, times, 1), v: repeatInterleave(v, times, 1) };
}

/** Attention of one segment over all given keys. */
function alone(q: Tensor, keys: KeysValues, segment: Segment, pattern: AttentionPattern): Tensor {
  const [keyRows] = keys.k.shape as [number];
  const place = { start: 0, rows: segment.rows, keyStart: 0, keyRows, beforeStart: 0, before: 0 };
  return attend(q, keys, [place], [segment], pattern);
}

/** One call for all segments, or one per run of segments with the same bias. */
function attend(
  q: Tensor,
  { k, v }: KeysValues,
  places: readonly AttentionSegment[],
  segments: readonly Segment[],
  { scale, causal, window, softcap, bias }: AttentionPattern,
): Tensor {
  const options = { scale, causal, window: window ?? 0, softcap: softcap ?? null };
  if (!bias) return packedAttention(q, k, v, places, options);
  const found: { bias: AttentionBias; places: AttentionSegment[] }[] = [];
  places.forEach((place, i) => {
    const own = bias((segments[i] as Segment).run);
    const last = found[found.length - 1];
    if (last && isSame(last.bias, own)) last.places.push(place);
    else found.push({ bias: own, places: [place] });
  });
  const outputs = found.map((stretch) => {
    const first = (stretch.places[0] as AttentionSegment).start;
    const rows = stretch.places.reduce((sum, place) => sum + place.rows, 0);
    const moved = stretch.places.map((place) => ({ ...place, start: place.start - first }));
    const queries = found.length === 1 ? q : narrow(q, 0, first, rows);
    return packedAttention(queries, k, v, moved, { ...options, bias: stretch.bias });
  });
  return joined(outputs);
}

const numbersOf = (bias: AttentionBias): Tensor =>
  bias.kind === 'alibi' ? bias.slopes : bias.table;
const isSame = (a: AttentionBias, b: AttentionBias): boolean => numbersOf(a) === numbersOf(b);
