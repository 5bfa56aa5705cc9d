import { describe, expect, it } from 'vitest';
import {
  compare,
  expectClose,
  hasNaN,
  onEachBody,
  parameter,
  random,
  restart,
  spoilt,
} from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { AttentionSegment, PackedAttentionOptions, Tensor } from '../index.js';

const [H, HKV] = [6, 2];
const SCALE = 0.3;

/** Segments whose queries are also keys, after `prefixes` rows of keys only. */
const self = (
  start: number,
  rows: number,
  { before = 0, beforeStart = 0, prefixes = 0 } = {},
): AttentionSegment => ({
  start,
  rows,
  keyStart: prefixes + start,
  keyRows: rows,
  beforeStart,
  before,
});
/** Segments whose keys have another layout. */
const cross = (
  start: number,
  rows: number,
  keyStart: number,
  keyRows: number,
  rest: Partial<AttentionSegment> = {},
): AttentionSegment => ({ start, rows, keyStart, keyRows, beforeStart: 0, before: 0, ...rest });

interface Layout {
  readonly name: string;
  readonly segments: readonly AttentionSegment[];
  /** Number of key rows. */
  readonly keys: number;
  readonly causal?: boolean;
  readonly window?: number;
  readonly bias?: 'alibi' | 'relative' | 'places';
  readonly softcap?: number;
}
const prefixed = { prefixes: 18 };

/** Layouts of decoders. */
const DECODERS: readonly Layout[] = [
  {
    name: 'sequences of 1 to 137 rows',
    keys: 195,
    segments: [self(0, 1), self(1, 7), self(8, 50), self(58, 137)],
  },
  { name: 'a window of 20 keys', keys: 133, segments: [self(0, 100), self(100, 33)], window: 20 },
  {
    name: 'virtual tokens that two share',
    keys: 80,
    segments: [self(0, 21), self(21, 50, { before: 21 }), self(71, 9, { before: 21 })],
  },
  {
    name: 'the same under a window',
    keys: 120,
    segments: [self(0, 21), self(21, 90, { before: 21 }), self(111, 9, { before: 21 })],
    window: 40,
  },
  {
    name: 'two prefixes',
    keys: 136,
    segments: [
      self(0, 50, { before: 13, ...prefixed }),
      self(50, 65, { before: 5, beforeStart: 13, ...prefixed }),
      self(115, 3, { before: 5, beforeStart: 13, ...prefixed }),
    ],
  },
];

const sequences = [self(0, 1), self(1, 60), self(61, 49)];
const OTHERS: readonly Layout[] = [
  { name: 'both ways', keys: 110, segments: sequences, causal: false },
  { name: 'both ways in a window', keys: 110, segments: sequences, causal: false, window: 17 },
  {
    name: 'both ways after a prefix',
    keys: 128,
    segments: [self(0, 60, { before: 18, ...prefixed }), self(60, 50, prefixed)],
    causal: false,
  },
  {
    name: 'queries over keys of another layout, some of them shared',
    keys: 140,
    segments: [
      cross(0, 50, 10, 33),
      cross(50, 3, 43, 90, { before: 10 }),
      cross(53, 61, 133, 7, { before: 10 }),
    ],
    causal: false,
  },
  {
    name: 'queries over shared keys alone',
    keys: 9,
    segments: [cross(0, 20, 0, 0, { before: 9 })],
    causal: false,
  },
  {
    name: 'queries that continue longer keys',
    keys: 190,
    segments: [cross(0, 1, 0, 70), cross(1, 55, 70, 120, { beforeStart: 3, before: 4 })],
  },
  {
    name: 'the same in a window',
    keys: 190,
    segments: [cross(0, 1, 0, 70), cross(1, 55, 70, 120)],
    window: 30,
  },
  {
    name: 'queries in the middle of their keys',
    keys: 150,
    segments: [cross(0, 50, 0, 90, { offset: 20 }), cross(50, 20, 90, 60, { offset: 0 })],
    causal: false,
    window: 25,
  },
  { name: 'capped scores', keys: 110, segments: sequences, softcap: 0.7 },
  {
    name: 'capped scores in a window after shared rows',
    keys: 120,
    segments: [self(0, 21), self(21, 90, { before: 21 }), self(111, 9, { before: 21 })],
    window: 40,
    softcap: 2,
  },
  {
    name: 'capped scores both ways, in the middle of their keys',
    keys: 150,
    segments: [cross(0, 50, 0, 90, { offset: 20 }), cross(50, 20, 90, 60, { offset: 0 })],
    causal: false,
    softcap: 2,
  },
  {
    name: 'capped scores and alibi, single queries over longer keys',
    keys: 190,
    segments: [cross(0, 1, 0, 70), cross(1, 1, 70, 120)],
    bias: 'alibi',
    softcap: 2,
  },
  { name: 'alibi', keys: 110, segments: sequences, bias: 'alibi' },
  { name: 'alibi both ways', keys: 110, segments: sequences, causal: false, bias: 'alibi' },
  {
    name: 'alibi in a window after shared rows',
    keys: 120,
    segments: [self(0, 21), self(21, 90, { before: 21 }), self(111, 9, { before: 21 })],
    window: 40,
    bias: 'alibi',
  },
  { name: 'places', keys: 110, segments: sequences, bias: 'places' },
  {
    name: 'places in a window after shared rows',
    keys: 120,
    segments: [self(0, 21), self(21, 90, { before: 21 }), self(111, 9, { before: 21 })],
    window: 40,
    bias: 'places',
  },
  {
    name: 'places, single queries over longer keys in a window',
    keys: 190,
    segments: [cross(0, 1, 0, 70), cross(1, 1, 70, 120)],
    window: 30,
    bias: 'places',
  },
  {
    name: 'places both ways, in the middle of their keys',
    keys: 150,
    segments: [cross(0, 50, 0, 90, { offset: 20 }), cross(50, 20, 90, 60, { offset: 0 })],
    causal: false,
    bias: 'places',
  },
  { name: 'relative', keys: 110, segments: sequences, bias: 'relative' },
  { name: 'relative both ways', keys: 110, segments: sequences, causal: false, bias: 'relative' },
  {
    name: 'relative, continuing longer keys',
    keys: 190,
    segments: [cross(0, 1, 0, 70), cross(1, 55, 70, 120, { beforeStart: 3, before: 4 })],
    bias: 'relative',
  },
  {
    name: 'relative across, in a window',
    keys: 150,
    segments: [cross(0, 50, 0, 90, { offset: 20 }), cross(50, 20, 90, 60, { offset: 0 })],
    causal: false,
    window: 25,
    bias: 'relative',
  },
];

/** More keys than one chunk; the last segment is so long that its queries are split by rows and heads. */
const LONG: readonly Layout[] = [
  {
    name: 'many keys in a window after shared rows',
    keys: 900,
    segments: [self(0, 600), self(600, 200, { before: 600 }), self(800, 100)],
    window: 530,
  },
  {
    name: 'few queries over many keys',
    keys: 1200,
    segments: [cross(0, 40, 0, 1100), cross(40, 1, 1100, 100, { before: 515 })],
  },
  {
    name: 'many keys both ways in a window, in their middle',
    keys: 1100,
    segments: [cross(0, 110, 0, 1100, { offset: 480 })],
    causal: false,
    window: 70,
  },
  { name: 'capped scores of many keys', keys: 1030, segments: [self(0, 1030)], softcap: 2 },
  { name: 'alibi over many keys', keys: 1030, segments: [self(0, 1030)], bias: 'alibi' },
  {
    name: 'a long sequence after a short one, with a relative bias',
    keys: 1490,
    segments: [self(0, 30), self(30, 1460)],
    bias: 'relative',
  },
];

const [BUCKETS, MAX_DISTANCE] = [16, 50];
const SLOPES = [0.5, 0.25, 0.125, 0.0625, 0.3, 0.01];
/** Number of key positions in the bias table, [H, PLACES]. */
const PLACES = 200;
const byPlace = (): Tensor =>
  k.tensor(
    Float32Array.from({ length: H * PLACES }, (_, i) => Math.sin(i * i)),
    [H, PLACES],
  );

/** Transformers' `_relative_position_bucket` for one number. */
function bucketOf(distance: number, buckets: number, most: number, bidirectional: boolean): number {
  const f = Math.fround;
  const count = bidirectional ? buckets / 2 : buckets;
  const side = bidirectional && distance > 0 ? count : 0;
  const far = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(count / 2);
  if (far < exact) return side + far;
  const steps = f(f(Math.log(f(far / exact))) / f(Math.log(most / exact)));
  return side + Math.min(exact + Math.trunc(f(steps * (count - exact))), count - 1);
}

/** Reference: one softmax over all keys for all queries, with -∞ for keys that a query does not see. */
function dense(
  [q, keys, values, table]: Tensor[],
  { segments, causal = true, window = 0, bias, softcap }: Layout,
): Tensor {
  const [rows, , size] = (q as Tensor).shape as [number, number, number];
  const count = (keys as Tensor).shape[0] as number;
  const seen = new Uint8Array(rows * count);
  const distances = new Float64Array(rows * count);
  const places = new Int32Array(rows * count);
  for (const { start, rows: n, keyStart, keyRows, beforeStart, before, offset } of segments) {
    const first = offset ?? before + keyRows - n;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < before + keyRows; j++) {
        const key = j < before ? beforeStart + j : keyStart + j - before;
        const distance = j - first - i;
        if (causal && distance > 0) continue;
        if (window > 0 && Math.abs(distance) >= window) continue;
        seen[(start + i) * count + key] = 1;
        distances[(start + i) * count + key] = distance;
        places[(start + i) * count + key] = j;
      }
  }
  const byHead = (t: Tensor): Tensor => k.transpose(t, 0, 1);
  const wide = (t: Tensor): Tensor => byHead(k.repeatInterleave(t, H / HKV, 1));
  let scores = k.mul(k.bmm(byHead(q as Tensor), k.transpose(wide(keys as Tensor), 1, 2)), SCALE);
  if (softcap !== undefined) scores = k.mul(k.tanh(k.div(scores, softcap)), softcap);
  if (bias === 'alibi') {
    const slopes = k.view(k.to(k.tensor(SLOPES, [H]), 'f64'), [H, 1, 1]);
    scores = k.sub(scores, k.mul(slopes, k.abs(k.tensor(distances, [1, rows, count]))));
  }
  if (bias === 'places') {
    const columns = k.tensor(places, [rows * count], 'i64');
    const numbers = k.indexSelect(k.to(byPlace(), 'f64'), 1, columns);
    scores = k.add(scores, k.view(numbers, [H, rows, count]));
  }
  if (bias === 'relative') {
    const buckets = Array.from(distances, (d) => bucketOf(d, BUCKETS, MAX_DISTANCE, !causal));
    const rowsOf = k.embedding(table as Tensor, k.tensor(buckets, [rows, count], 'i64'));
    scores = k.add(scores, k.permute(rowsOf, [2, 0, 1]));
  }
  const hidden = k.eq(k.tensor(seen, [1, rows, count]), 0);
  const weights = k.softmax(k.maskedFill(scores, hidden, -Infinity));
  return k.reshape(k.transpose(k.bmm(weights, wide(values as Tensor)), 0, 1), [rows, H * size]);
}

function optionsOf(
  { causal = true, window = 0, bias, softcap }: Layout,
  table?: Tensor,
): PackedAttentionOptions {
  const shared = { scale: SCALE, causal, window, ...(softcap !== undefined && { softcap }) };
  if (bias === 'alibi')
    return { ...shared, bias: { kind: 'alibi', slopes: k.tensor(SLOPES, [H]) } };
  if (bias === 'places') return { ...shared, bias: { kind: 'places', table: byPlace() } };
  if (bias === undefined || !table) return shared;
  return {
    ...shared,
    bias: { kind: 'relative', table, maxDistance: MAX_DISTANCE, bidirectional: !causal },
  };
}

const rowsOf = (segments: readonly AttentionSegment[]): number =>
  segments.reduce((n, { rows }) => n + rows, 0);
/** q, k, v, and the table if there is one. */
const inputsOf = (
  { segments, keys, bias }: Layout,
  size: number,
  dtype: 'f32' | 'bf16',
): Tensor[] => [
  random([rowsOf(segments), H, size], dtype),
  random([keys, HKV, size], dtype),
  random([keys, HKV, size], dtype),
  ...(bias === 'relative' ? [random([BUCKETS, H], dtype)] : []),
];
const attend =
  (layout: Layout) =>
  (...[q, keys, values, table]: Tensor[]): Tensor =>
    k.packedAttention(
      q as Tensor,
      keys as Tensor,
      values as Tensor,
      layout.segments,
      optionsOf(layout, table),
    );

onEachBody((dtype) => {
  describe.each([64, 40, 7])('attention, heads of %i', (size) => {
    it.each([...DECODERS, ...OTHERS])('$name', (layout) => {
      k.tidy(() => {
        compare(inputsOf(layout, size, dtype), dtype, attend(layout), (...inputs) =>
          dense(inputs, layout),
        );
      });
    });
  });

  it('heads wider than a block of columns', () => {
    k.tidy(() => {
      const layout = DECODERS[3] as Layout;
      compare(inputsOf(layout, 136, dtype), dtype, attend(layout), (...inputs) =>
        dense(inputs, layout),
      );
    });
  });

  it.each(LONG)('$name', (layout) => {
    k.tidy(() => {
      compare(inputsOf(layout, 8, dtype), dtype, attend(layout), (...inputs) =>
        dense(inputs, layout),
      );
    });
  });

  it.each(OTHERS.filter(({ bias }) => bias === 'alibi' || bias === 'relative'))(
    'a cache gives the same: $name',
    (layout) => {
      k.tidy(() => {
        const [q, keys, values, table] = inputsOf(layout, 8, dtype) as [
          ...[Tensor, Tensor, Tensor],
          Tensor?,
        ];
        const cache = new k.BiasCache();
        const { bias, ...options } = optionsOf(layout, table);
        const numbers = bias?.kind === 'alibi' ? bias.slopes : (bias?.table as Tensor);
        const bits = (reused: boolean) => {
          const given = bias && (reused ? { ...bias, cache } : bias);
          const all = { ...options, ...(given && { bias: given }) };
          return [...k.packedAttention(q, keys, values, layout.segments, all).toArray()];
        };
        const expected = bits(false);
        expect(bits(true)).toEqual(expected);
        k.noGrad(() => k.fill_(numbers, 3));
        expect(bits(true)).toEqual(expected); // computed before
        cache.dispose();
        expect(bits(true)).toEqual(bits(false));
        cache.dispose();
      });
    },
  );

  it('attention over parts of one tensor', () => {
    k.tidy(() => {
      const parts = (t: Tensor): [Tensor, Tensor, Tensor] => {
        const [q, keys, values] = k.split(t, [H * 8, HKV * 8, HKV * 8], 1) as [
          Tensor,
          Tensor,
          Tensor,
        ];
        return [k.view(q, [30, H, 8]), k.view(keys, [30, HKV, 8]), k.view(values, [30, HKV, 8])];
      };
      const layout: Layout = { name: 'parts', keys: 30, segments: [self(0, 13), self(13, 17)] };
      compare(
        [random([30, (H + 2 * HKV) * 8], dtype)],
        dtype,
        (t) => attend(layout)(...parts(t)),
        (t) => dense(parts(t), layout),
      );
    });
  });

  it('keeps NaN', () => {
    k.tidy(() => {
      const [q, keys] = [random([4, H, 8], dtype), random([4, HKV, 8], dtype)];
      const run = (a: Tensor, b: Tensor): Tensor =>
        k.packedAttention(a, b, keys, [self(0, 4)], { scale: SCALE });
      expect(hasNaN(run(spoilt([4, H, 8], dtype), keys))).toBe(true);
      expect(hasNaN(run(q, spoilt([4, HKV, 8], dtype)))).toBe(true);
    });
  });
});

it.each([...DECODERS, ...OTHERS])(
  'other dtypes take the composition of operators: $name',
  (layout) => {
    k.tidy(() => {
      const wide = (t: Tensor): Tensor => parameter(k.to(t, 'f64'));
      const inputs = inputsOf(layout, 16, 'f32');
      const [ownInputs, exact] = [inputs.map(wide), inputs.map(wide)];
      const [composed, expected] = [attend(layout)(...ownInputs), dense(exact, layout)];
      const g = k.to(random(composed.shape, 'f32'), 'f64');
      k.backward([composed], [g]);
      k.backward([expected], [g]);
      expectClose(k.to(composed, 'f32'), expected, 'f32');
      ownInputs.forEach((t, i) =>
        expectClose(k.to(t.grad as Tensor, 'f32'), exact[i]?.grad as Tensor, 'f32'),
      );
    });
  },
);

it.each([
  [32, 128, true],
  [32, 128, false],
  [16, 50, true],
  [20, 1000, false],
])('puts distances in the buckets of T5: %i up to %i, both ways %s', (buckets, most, both) => {
  k.tidy(() => {
    const distances = Array.from({ length: 2401 }, (_, i) => i - 1200);
    const got = k.relativeBuckets(k.tensor(distances, [2401], 'i64'), buckets, most, both);
    const expected = distances.map((d) => bucketOf(d, buckets, most, both));
    expect([...(got.toArray() as BigInt64Array)].map(Number)).toEqual(expected);
  });
});

it.each([[false], [true]])(
  'results do not depend on the number of threads, biased: %s',
  (biased) => {
    const threads = k.getThreads();
    const layout: Layout = {
      name: 'shared rows',
      keys: 261,
      segments: [self(0, 21), self(21, 150, { before: 21 }), self(171, 90, { before: 21 })],
      ...(biased ? { bias: 'relative' } : {}),
    };
    const run = (count: number): unknown[] =>
      k.tidy(() => {
        restart(1000);
        k.setThreads(count);
        const inputs = inputsOf(layout, 16, 'bf16').map(parameter);
        const weight = parameter(random([16 * H], 'bf16'));
        const o = attend(layout)(...inputs);
        k.backward([k.rmsNorm(o, weight)], [random([261, 16 * H], 'bf16')]);
        return [o, ...inputs.map(({ grad }) => grad), weight.grad].map((t) => t?.toArray());
      });
    try {
      expect(run(2)).toEqual(run(1));
    } finally {
      k.setThreads(threads);
    }
  },
);

it('names mismatched arguments', () => {
  k.tidy(() => {
    const x = random([4, 2, 8], 'f32');
    const bad =
      (segment: AttentionSegment, options: Partial<PackedAttentionOptions> = {}): (() => Tensor) =>
      () =>
        k.packedAttention(x, x, x, [segment], { scale: 1, ...options });
    expect(bad(self(0, 3))).toThrow('segments cover 3 rows, but there are 4 queries');
    expect(bad(self(1, 3))).toThrow('segment 0 starts at 1, expected 0');
    expect(bad(self(0, 4, { beforeStart: 3, before: 2 }))).toThrow(
      'segment 0 has preceding keys out of range (4 keys)',
    );
    expect(bad(cross(0, 4, 2, 3))).toThrow('segment 0 has keys out of range (4 keys)');
    expect(bad(cross(0, 4, 0, 3))).toThrow(
      'segment 0 has queries at positions -1 to 2 with 3 keys, out of range for causal attention',
    );
    expect(bad(cross(0, 4, 0, 0), { causal: false })).toThrow(
      'segment 0 has a query with no visible keys',
    );
    expect(bad(cross(0, 4, 0, 4, { offset: 9 }), { causal: false, window: 3 })).toThrow(
      'segment 0 has a query with no visible keys',
    );
    const slopes = k.tensor([1, 1, 1], [3]);
    expect(bad(self(0, 4), { bias: { kind: 'alibi', slopes } })).toThrow(
      'the bias has 3 heads, the queries have 2',
    );
    const table = k.zeros([2, 3]);
    expect(bad(self(0, 4), { bias: { kind: 'places', table } })).toThrow(
      'the bias has 3 places, 4 are needed',
    );
    expect(
      bad(self(0, 4), {
        bias: { kind: 'relative', table: x.detach(), maxDistance: 1, bidirectional: true },
      }),
    ).toThrow('4 buckets do not fit distances up to 1');
  });
});
