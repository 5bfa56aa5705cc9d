import { expect, it } from 'vitest';
import { expectClose, hasNaN, onEachSet, random, spoilt } from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { LowRankRows, Tensor } from '../index.js';

interface Shape {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Rank and number of rows of each adapter; rank 0 means rows without an adapter. */
  readonly adapters: readonly (readonly [rank: number, rows: number])[];
}

const SHAPES: readonly Shape[] = [
  { name: 'one row', inFeatures: 64, outFeatures: 96, adapters: [[8, 1]] },
  {
    name: 'adapters of several ranks, and rows without one between them',
    inFeatures: 40,
    outFeatures: 83,
    adapters: [[1, 2], [0, 3], [16, 1], [5, 4], [0, 1], [33, 2]],
  }, // prettier-ignore
  {
    name: 'more products than one thread takes',
    inFeatures: 1536,
    outFeatures: 576,
    adapters: [[16, 7], [64, 9]],
  }, // prettier-ignore
  {
    name: 'the rows of a prompt',
    inFeatures: 192,
    outFeatures: 100,
    adapters: [[16, 131], [0, 2], [4, 66]],
  }, // prettier-ignore
  { name: 'widths that fill no vector', inFeatures: 3, outFeatures: 2, adapters: [[2, 3]] },
];

type Made = ReturnType<typeof made>;

function made({ inFeatures, outFeatures, adapters }: Shape, dtype: 'f32' | 'bf16') {
  const count = adapters.reduce((sum, [, rows]) => sum + rows, 0);
  const [x, y] = [random([count, inFeatures], dtype), random([count, outFeatures], dtype)];
  let start = 0;
  const rows: LowRankRows[] = [];
  for (const [rank, length] of adapters) {
    const [a, b] = [random([rank, inFeatures], 'f32'), random([outFeatures, rank], 'f32')];
    if (rank > 0) rows.push({ a, b, scale: 0.5 / rank, start, length });
    start += length;
  }
  return { x, y, rows };
}

/** Reference in f64, with factors rounded to the rows' dtype. */
function exactly(y: Tensor, x: Tensor, adapters: readonly LowRankRows[], dtype: 'f32' | 'bf16') {
  const wide = (t: Tensor): Tensor => k.to(k.to(t, dtype), 'f64');
  const sum = k.add(wide(y), 0);
  for (const { a, b, scale, start, length } of adapters) {
    const low = k.linear(wide(k.narrow(x, 0, start, length)), wide(a));
    const more = k.mul(k.linear(wide(low), wide(b)), scale);
    k.add_(k.narrow(sum, 0, start, length), more);
  }
  return sum;
}

/** y with the adapters' updates added in place. */
function added(y: Tensor, x: Tensor, adapters: readonly LowRankRows[]): Tensor {
  k.addLowRank_([y], x, k.lowRankCall([adapters]));
  return y;
}

const numbers = (t: Tensor): number[] => [...k.contiguous(t).toArray()].map(Number);
const copyOf = (t: Tensor): Tensor => k.contiguous(k.add(t, 0));

onEachSet((dtype) => {
  it.each(SHAPES)('addLowRank_: $name', (shape) => {
    k.tidy(() => {
      const { x, y, rows } = made(shape, dtype);
      const exact = exactly(y, x, rows, dtype);
      expectClose(added(y, x, rows), exact, dtype);
    });
  });

  it.runIf(dtype === 'bf16').each(SHAPES)(
    'has the same bits by rounded factors: $name',
    (shape) => {
      k.tidy(() => {
        const { x, y, rows } = made(shape, dtype);
        const factors = k.roundedFactors(rows);
        const rounded = rows.map((one, i) => ({ ...one, ...factors[i] }));
        expect(rounded.every(({ a, b }) => a.dtype === 'bf16' && b.dtype === 'bf16')).toBe(true);
        expect(numbers(added(copyOf(y), x, rounded))).toEqual(numbers(added(y, x, rows)));
      });
    },
  );

  it('gives a row the same bits for any other rows', () => {
    k.tidy(() => {
      const { x, y, rows } = made(SHAPES[1] as Shape, dtype);
      const each = rows.flatMap((one) =>
        Array.from({ length: one.length }, (_, i) => {
          const [own, input] = [y, x].map((t) => copyOf(k.narrow(t, 0, one.start + i, 1))) as [Tensor, Tensor]; // prettier-ignore
          return numbers(added(own, input, [{ ...one, start: 0, length: 1 }]));
        }),
      );
      added(y, x, rows);
      const got = rows.flatMap(({ start, length }) =>
        Array.from({ length }, (_, i) => numbers(k.narrow(y, 0, start + i, 1))),
      );
      expect(got).toEqual(each);
    });
  });

  it('gives joint products the bits of separate calls', () => {
    k.tidy(() => {
      const shapes = [SHAPES[1], { ...SHAPES[1], outFeatures: 17 }] as Shape[];
      const [one, other] = shapes.map((shape) => made(shape, dtype)) as [Made, Made];
      const apart = [one, other].map(({ y, rows }) => numbers(added(copyOf(y), one.x, rows)));
      const bare = copyOf(one.y);
      const all = [one.rows, [], other.rows.slice(1)];
      k.addLowRank_([one.y, bare, other.y], one.x, k.lowRankCall(all));
      added(other.y, one.x, other.rows.slice(0, 1));
      expect([one.y, other.y].map(numbers)).toEqual(apart);
      expect(numbers(bare)).not.toEqual(apart[0]);
    });
  });

  it('keeps NaN in its row', () => {
    k.tidy(() => {
      const { y, rows } = made(SHAPES[0] as Shape, dtype);
      expect(hasNaN(added(y, spoilt([1, 64], dtype), rows))).toBe(true);
    });
  });
});

it('names mismatched shapes', () => {
  k.tidy(() => {
    const { x, y, rows } = made(SHAPES[0] as Shape, 'f32');
    const [one] = rows as [LowRankRows];
    const b = random([95, 8], 'f32');
    expect(() => added(y, x, [{ ...one, b }])).toThrow(
      'a factor of 8 times 96 numbers from 0 on in float [95, 8]',
    );
    expect(() => added(y, x, [{ ...one, b: random([96, 7], 'f32') }])).toThrow(
      'factors [8, 64] and [96, 7] do not fit each other',
    );
    expect(() => added(y, x, [{ ...one, length: 2 }])).toThrow('rows from 0, 2 of them, of 1');
    // f32 rows are not rounded
    const [rounded] = k.roundedFactors([one]);
    expect(() => added(y, x, [{ ...one, ...rounded }])).toThrow(
      'factors c10::BFloat16 and c10::BFloat16 with x float',
    );
    const [bf16, wide] = [x, y].map((t) => k.to(t, 'bf16')) as [Tensor, Tensor];
    const within = { ...(rounded?.within as { whole: Tensor; at: number }), at: 1 };
    expect(() => added(wide, bf16, [{ ...one, ...rounded, within }])).toThrow(
      'a factor of 8 times 96 numbers from 513 on in c10::BFloat16 [1280]',
    );
  });
});
