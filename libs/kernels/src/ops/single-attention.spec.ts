import { describe, expect, it } from 'vitest';
import { expectClose, hasNaN, onEachSet, random, restart, spoilt } from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { Dtype, SeenKeys, Tensor } from '../index.js';

const SCALE = 0.3;

/** Keys and values of queries; the first caches have unused rows at the end. */
function seenBy(counts: readonly number[], heads: number, size: number, dtype: Dtype): SeenKeys[] {
  return counts.map((count, i) => {
    const buffer = (): Tensor => k.narrow(random([count + 3 - i, heads, size], dtype), 0, 0, count);
    return { k: buffer(), v: buffer() };
  });
}

/** Reference: each query separately, in f64. */
function alone(
  q: Tensor,
  seen: readonly SeenKeys[],
  options: { readonly window?: number; readonly softcap?: number },
): Tensor {
  const wide = (t: Tensor): Tensor => k.to(t, 'f64');
  return k.cat(
    seen.map(({ k: keys, v: values }, i) => {
      const keyRows = keys.shape[0] as number;
      const place = { start: 0, rows: 1, keyStart: 0, keyRows, beforeStart: 0, before: 0 };
      const query = wide(k.narrow(q, 0, i, 1));
      return k.packedAttention(query, wide(keys), wide(values), [place], { scale: SCALE, ...options }); // prettier-ignore
    }),
  );
}

onEachSet((dtype) => {
  it.each<[string, number, number, number, { window?: number; softcap?: number }]>([
    ['heads of 64, three to a head of keys', 6, 2, 64, {}],
    ['heads of 8', 4, 4, 8, {}],
    ['heads of 20, which is no whole number of vectors', 2, 1, 20, {}],
    ['heads of 256', 2, 1, 256, {}],
    ['a window', 6, 2, 64, { window: 20 }],
    ['capped scores', 6, 2, 64, { softcap: 0.7 }],
  ])('%s', (_, heads, kvHeads, size, options) => {
    restart(500);
    const seen = seenBy([1, 17, 133], kvHeads, size, dtype);
    const q = random([3, heads, size], dtype);
    const got = k.singleAttention(q, seen, { scale: SCALE, ...options });
    expectClose(got, alone(q, seen, options), dtype);
  });

  it.each<[string, boolean, { window?: number; softcap?: number }]>([
    ['turned', true, {}],
    ['as they are, of a window', false, { window: 20 }],
  ])('appends rows to caches, %s, with the bits of single steps', (_, turns, options) => {
    restart(600);
    const [heads, kvHeads, size, lengths] = [6, 2, 64, [0, 16, 132]];
    const table = (): Tensor => random([3, 1, size], dtype);
    const rotation = turns ? { cos: table(), sin: table() } : null;
    const turned = (t: Tensor): Tensor => (rotation ? k.rotary(t, rotation.cos, rotation.sin) : t);
    const q = random([3, heads, size], dtype);
    const own = { k: random([3, kvHeads, size], dtype), v: random([3, kvHeads, size], dtype) };
    const buffer = (): Tensor => random([150, kvHeads, size], dtype);
    const caches = lengths.map((length) => ({ k: buffer(), v: buffer(), length }));
    const seen = caches.map((cache, i): SeenKeys => {
      const after = (before: Tensor, row: Tensor): Tensor =>
        k.cat([k.narrow(before, 0, 0, cache.length), k.narrow(row, 0, i, 1)]);
      return { k: after(cache.k, turned(own.k)), v: after(cache.v, own.v) };
    });
    const expected = k.singleAttention(turned(q), seen, { scale: SCALE, ...options });
    const flat = (t: Tensor): Tensor => k.view(t, [3, -1]);
    const got = k.cachedAttention(flat(q), { k: flat(own.k), v: flat(own.v) }, rotation, caches, {
      scale: SCALE,
      ...options,
    });
    expect(got.toArray()).toEqual(expected.toArray());
    caches.forEach((cache, i) => {
      const rows = (t: Tensor): Tensor => k.narrow(t, 0, 0, cache.length + 1);
      expect(rows(cache.k).bytes()).toEqual(seen[i]?.k.bytes());
      expect(rows(cache.v).bytes()).toEqual(seen[i]?.v.bytes());
    });
  });

  it('propagates NaN of a key to its query only', () => {
    const seen = seenBy([9, 9], 1, 16, dtype);
    const q = random([2, 1, 16], dtype);
    const spoiled = [{ k: spoilt([9, 1, 16], dtype), v: (seen[0] as SeenKeys).v }, seen[1]];
    const got = k.singleAttention(q, spoiled as SeenKeys[], { scale: SCALE });
    expect([0, 1].map((i) => hasNaN(k.narrow(got, 0, i, 1)))).toEqual([true, false]);
  });

  it('gives the bits of separate calls', () => {
    const seen = seenBy([40, 7, 300], 2, 64, dtype);
    const q = random([3, 6, 64], dtype);
    const together = k.singleAttention(q, seen, { scale: SCALE });
    const last = k.singleAttention(k.narrow(q, 0, 2, 1), seen.slice(2), { scale: SCALE });
    expect(last.toArray()).toEqual(k.narrow(together, 0, 2, 1).toArray());
  });
});

describe('singleAttention', () => {
  it('rejects a row for a full cache', () => {
    const [q, row] = [random([1, 8], 'f32'), random([1, 8], 'f32')];
    const cache = { k: random([4, 1, 8], 'f32'), v: random([4, 1, 8], 'f32'), length: 4 };
    expect(() => k.cachedAttention(q, { k: row, v: row }, null, [cache], { scale: SCALE })).toThrow(
      'cache 0 has 4 rows, and no space after 4',
    );
  });

  it.each<[string, number[], number, RegExp]>([
    ['another number of keys', [4], 2, /keys, values and a first key for each of 2 queries/],
    ['a query without keys', [0], 1, /query 0 sees no key/],
  ])('%s', (_, counts, queries, message) => {
    const seen = seenBy(counts, 1, 8, 'f32');
    const q = random([queries, 1, 8], 'f32');
    expect(() => k.singleAttention(q, seen, { scale: SCALE })).toThrow(message);
  });

  it('rejects keys of another dtype', () => {
    const seen = seenBy([4], 1, 8, 'bf16');
    expect(() => k.singleAttention(random([1, 1, 8], 'f32'), seen, { scale: SCALE })).toThrow(
      /keys and values 0 are not \[K, Hkv, d\] like the queries/,
    );
  });
});
