// Each own kernel against the composition of libtorch's operators in f64 on the same inputs, values and gradients,
// on every instruction set of this processor. In f64 it does not matter in which order the processor's own libraries
// sum, so what is seen here is the kernel's distance alone.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as k from '../index.js';
import type { AttentionPiece, Dtype, InstructionSet, Tensor } from '../index.js';

const best = k.instructionSet();
const SETS: readonly InstructionSet[] = ['generic', 'avx2', 'avx512', 'avx512bf16'];
const present = SETS.slice(0, SETS.indexOf(best) + 1);
/**
 * Largest difference from f64 over the largest value, more than twice what is seen: up to 1.41e-6 in f32 (the
 * composition in f32: 3.25e-6, attention with heads of 64), 5.7e-3 in bf16 (the composition: 1.3e-2).
 */
const TOLERANCE: Partial<Record<Dtype, number>> = { f32: 3e-6, bf16: 1.2e-2 };

let site = 0;
const random = (shape: number[], dtype: Dtype): Tensor =>
  k.to(k.counterNormal(shape, { seed: 1, step: 0, site: site++ }), dtype).detach();
const leaf = (t: Tensor): Tensor => {
  const own = k.contiguous(t).detach();
  own.requiresGrad = true;
  return own;
};

function distance(got: Tensor, exact: Tensor): number {
  expect(got.shape).toEqual(exact.shape);
  expect(exact.dtype).toBe('f64');
  const [a, b] = [got, exact].map((t) => k.to(t, 'f64').toArray()) as [Float64Array, Float64Array];
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = a.reduce((most, value, i) => {
    const difference = Math.abs(value - (b[i] as number));
    return difference <= most ? most : difference; // NaN counts
  }, 0);
  return worst / largest;
}

function expectClose(got: Tensor, exact: Tensor, dtype: Dtype): void {
  expect(got.dtype).toBe(dtype);
  expect(distance(got, exact)).toBeLessThan(TOLERANCE[dtype] as number);
}

/** Value and gradients of `own` on inputs in `dtype` against those of `composed` on the same numbers in f64. */
function compare(
  inputs: readonly Tensor[],
  dtype: Dtype,
  own: (...inputs: Tensor[]) => Tensor,
  composed: (...inputs: Tensor[]) => Tensor,
): void {
  const mine = inputs.map(leaf);
  const exact = inputs.map((t) => leaf(k.to(t, 'f64')));
  const [got, wanted] = [own(...mine), composed(...exact)];
  expectClose(got, wanted, dtype);
  const g = random(got.shape as number[], dtype);
  k.backward([got], [g]);
  k.backward([wanted], [k.to(g, 'f64')]);
  mine.forEach((t, i) => expectClose(t.grad as Tensor, exact[i]?.grad as Tensor, dtype));
}

const [H, HKV] = [6, 2];
const SCALE = 0.3;
const piece = (start: number, rows: number, beforeStart = 0, before = 0): AttentionPiece => ({
  start,
  rows,
  beforeStart,
  before,
});

/** The same by libtorch, piece by piece. */
function pieceByPiece(
  [q, keys, values]: [Tensor, Tensor, Tensor],
  pieces: readonly AttentionPiece[],
  prefixes: number,
  window: number,
): Tensor {
  const byHead = (t: Tensor): Tensor => k.unsqueeze(k.transpose(t, 0, 1), 0);
  return k.cat(
    pieces.map(({ start, rows, beforeStart, before }) => {
      const seen = (t: Tensor): Tensor => {
        const own = k.narrow(t, 0, prefixes + start, rows);
        return before === 0 ? own : k.cat([k.narrow(t, 0, beforeStart, before), own]);
      };
      const past = k.tril(k.ones([rows, before + rows], 'bool'), before);
      const output = k.scaledDotProductAttention(
        byHead(k.narrow(q, 0, start, rows)),
        byHead(seen(keys)),
        byHead(seen(values)),
        {
          mask: window > 0 ? k.triu(past, before - window + 1) : past,
          scale: SCALE,
          enableGqa: true,
        },
      );
      return k.reshape(k.transpose(output, 1, 2), [rows, -1]);
    }),
  );
}

const LAYOUTS: readonly (readonly [string, number, readonly AttentionPiece[], number])[] = [
  ['sequences of 1 to 137 rows', 0, [piece(0, 1), piece(1, 7), piece(8, 50), piece(58, 137)], 0],
  ['a window of 20 keys', 0, [piece(0, 100), piece(100, 33)], 20],
  [
    'virtual tokens that two share',
    0,
    [piece(0, 21), piece(21, 50, 0, 21), piece(71, 9, 0, 21)],
    0,
  ],
  ['the same under a window', 0, [piece(0, 21), piece(21, 90, 0, 21), piece(111, 9, 0, 21)], 40],
  ['two prefixes', 18, [piece(0, 50, 0, 13), piece(50, 65, 13, 5), piece(115, 3, 13, 5)], 0],
];

describe.each(present)('on %s', (set) => {
  beforeAll(() => void k.instructionSet(set));
  afterAll(() => void k.instructionSet(best));

  describe.each(['f32', 'bf16'] as const)('%s', (dtype) => {
    it.each([64, 40, 7])('attention, heads of %i', (size) => {
      for (const [, prefixes, pieces, window] of LAYOUTS) {
        k.tidy(() => {
          const rows = pieces.reduce((n, { rows: count }) => n + count, 0);
          compare(
            [
              random([rows, H, size], dtype),
              random([prefixes + rows, HKV, size], dtype),
              random([prefixes + rows, HKV, size], dtype),
            ],
            dtype,
            (q, keys, values) =>
              k.packedAttention(q, keys, values, pieces, { scale: SCALE, window }),
            (q, keys, values) => pieceByPiece([q, keys, values], pieces, prefixes, window),
          );
        });
      }
    });

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
        const pieces = [piece(0, 13), piece(13, 17)];
        compare(
          [random([30, (H + 2 * HKV) * 8], dtype)],
          dtype,
          (t) => k.packedAttention(...parts(t), pieces, { scale: SCALE }),
          (t) => pieceByPiece(parts(t), pieces, 0, 0),
        );
      });
    });

    it.each([
      [5, 64],
      [130, 37],
    ])('rmsNorm of %i rows of %i', (rows, size) => {
      k.tidy(() => {
        const composed = (x: Tensor, weight: Tensor | null): Tensor => {
          const normed = k.mul(x, k.rsqrt(k.add(k.mean(k.square(x), -1, true), 1e-5)));
          return weight ? k.mul(normed, weight) : normed;
        };
        const x = random([rows, size], dtype);
        const run = (t: Tensor, weight: Tensor): Tensor => k.rmsNorm(t, weight, 1e-5);
        compare([x, random([size], dtype)], dtype, run, composed);
        compare(
          [x],
          dtype,
          (t) => k.rmsNorm(t, null, 1e-5),
          (t) => composed(t, null),
        );
      });
    });

    it('siluMul', () => {
      k.tidy(() => {
        const inputs = [random([9, 41], dtype), random([9, 41], dtype)];
        compare(inputs, dtype, k.siluMul, (gate, up) => k.mul(k.silu(gate), up));
      });
    });

    it('rotate, as a part of a wider tensor too', () => {
      k.tidy(() => {
        const tables = [random([70, 1, 20], dtype), random([70, 1, 20], dtype)] as const;
        // signed as the kernel wants it: the second half is the first's opposite
        const [c, half] = tables.map((t) => k.narrow(t, 2, 0, 10)) as [Tensor, Tensor];
        const cos = k.cat([c, c], 2);
        const sin = k.cat([k.neg(half), half], 2);
        const composed = (x: Tensor): Tensor => {
          const [first, second] = k.split(x, [10, 10], 2) as [Tensor, Tensor];
          const wide = (t: Tensor): Tensor => k.to(t, x.dtype);
          return k.add(k.mul(x, wide(cos)), k.mul(k.cat([second, first], 2), wide(sin)));
        };
        compare([random([70, 3, 20], dtype)], dtype, (x) => k.rotate(x, cos, sin), composed);
        const part = (x: Tensor): Tensor => k.view(k.narrow(x, 1, 8, 40), [70, 2, 20]);
        compare(
          [random([70, 60], dtype)],
          dtype,
          (x) => k.rotate(part(x), cos, sin),
          (x) => composed(part(x)),
        );
      });
    });

    it.each([1000, 33, 3])('crossEntropy_ over %i classes', (classes) => {
      k.tidy(() => {
        const n = 19;
        const logits = k.mul(random([n, classes], dtype), 4);
        const labels = Array.from({ length: n }, (_, i) => (i * 7) % classes);
        const y = k.tensor(BigInt64Array.from(labels, BigInt), [n]);
        const s = Array.from({ length: n }, (_, i) => 0.1 * (i + 1));
        const scales = k.tensor(s, [n]);
        const wide = leaf(k.to(logits, 'f64'));
        const wanted = k.crossEntropy(wide, y, { reduction: 'none' });
        k.backward([wanted], [k.to(scales, 'f64')]);
        const likeliest = k.argmax(wide.detach(), 1).toArray() as BigInt64Array;
        const before = k.add(logits, 0);
        const kept = k.crossEntropy_(logits, y, null);
        expect(logits.toArray()).toEqual(before.toArray());
        const { losses, right } = k.crossEntropy_(logits, y, scales);
        expect(losses.toArray()).toEqual(kept.losses.toArray());
        expectClose(losses, wanted.detach(), 'f32');
        expectClose(logits, wide.grad as Tensor, dtype);
        if (dtype === 'f32')
          expect([...right.toArray()].map(Number)).toEqual(
            labels.map((label, i) => Number(BigInt(label) === likeliest[i])),
          );
      });
    });

    it('numbers that are not stay so', () => {
      k.tidy(() => {
        const spoilt = (shape: number[]): Tensor => {
          const t = k.add(random(shape, 'f32'), 0);
          k.copy_(k.narrow(k.view(t, [-1]), 0, 3, 1), k.tensor([NaN], [1]));
          return k.to(t, dtype);
        };
        const last = (t: Tensor): boolean =>
          [...(k.to(t, 'f32').toArray() as Float32Array)].some(Number.isNaN);
        const sound = (shape: number[]): Tensor => random(shape, dtype);
        const whole = [piece(0, 4)];
        const attend = (q: Tensor, keys: Tensor, values: Tensor): Tensor =>
          k.packedAttention(q, keys, values, whole, { scale: SCALE });
        expect(last(attend(spoilt([4, H, 8]), sound([4, HKV, 8]), sound([4, HKV, 8])))).toBe(true);
        expect(last(attend(sound([4, H, 8]), spoilt([4, HKV, 8]), sound([4, HKV, 8])))).toBe(true);
        expect(last(k.rmsNorm(spoilt([2, 8]), null))).toBe(true);
        expect(last(k.siluMul(spoilt([2, 8]), sound([2, 8])))).toBe(true);
        const y = k.tensor(BigInt64Array.from([0n, 1n]), [2]);
        expect(last(k.crossEntropy_(spoilt([2, 40]), y, null).losses)).toBe(true);
      });
    });
  });
});

it('results do not depend on the number of threads', () => {
  const threads = k.getThreads();
  const pieces = [piece(0, 21), piece(21, 150, 0, 21), piece(171, 90, 0, 21)];
  const run = (count: number): unknown[] =>
    k.tidy(() => {
      site = 1000;
      k.setThreads(count);
      const q = leaf(random([261, H, 16], 'bf16'));
      const keys = leaf(random([261, HKV, 16], 'bf16'));
      const o = k.packedAttention(q, keys, keys, pieces, { scale: SCALE });
      const weight = leaf(random([16 * H], 'bf16'));
      k.backward([k.rmsNorm(o, weight)], [random([261, 16 * H], 'bf16')]);
      return [o, q.grad, keys.grad, weight.grad].map((t) => (t as Tensor).toArray());
    });
  try {
    expect(run(2)).toEqual(run(1));
  } finally {
    k.setThreads(threads);
  }
});

it('other dtypes take the composition of operators, with the same results', () => {
  k.tidy(() => {
    const wide = (t: Tensor): Tensor => k.to(t, 'f64');
    const near = (own: Tensor, composed: Tensor): void => expectClose(own, composed, 'f32');
    const [x, weight] = [random([9, 40], 'f32'), random([40], 'f32')];
    near(k.rmsNorm(x, weight, 1e-5), k.rmsNorm(wide(x), wide(weight), 1e-5));
    const up = random([9, 40], 'f32');
    near(k.siluMul(x, up), k.siluMul(wide(x), wide(up)));
    const rows = k.view(x, [9, 2, 20]);
    const half = random([9, 1, 10], 'f32');
    const [cos, sin] = [k.cat([half, half], 2), k.cat([k.neg(half), half], 2)];
    near(k.rotate(rows, cos, sin), k.rotate(wide(rows), wide(cos), wide(sin)));
    const labels = k.tensor(
      BigInt64Array.from({ length: 9 }, (_, i) => BigInt(i)),
      [9],
    );
    const scales = k.full([9], 0.5);
    const [own, composed] = [k.add(x, 0), wide(x)];
    const [a, b] = [
      k.crossEntropy_(own, labels, scales),
      k.crossEntropy_(composed, labels, scales),
    ];
    expectClose(a.losses, k.to(b.losses, 'f64'), 'f32');
    expect(a.right.toArray()).toEqual(b.right.toArray());
    near(own, composed);
  });
});

it('says what is wrong', () => {
  k.tidy(() => {
    const x = random([4, 2, 8], 'f32');
    const bad = (...pieces: AttentionPiece[]): (() => Tensor) => {
      return () => k.packedAttention(x, x, x, pieces, { scale: 1 });
    };
    expect(bad(piece(0, 3))).toThrow('pieces have 3 rows, the queries 4');
    expect(bad(piece(1, 3))).toThrow('piece 0 starts at 1, not at 0');
    expect(bad(piece(0, 4, 3, 2))).toThrow('what is before lies outside the 4 keys');
    expect(() => k.rmsNorm(x, random([7], 'f32'))).toThrow('weight [7] for x [4, 2, 8]');
    expect(() => k.siluMul(x, random([4, 8], 'f32'))).toThrow('gate [4, 2, 8], up [4, 8]');
    const label = k.tensor(BigInt64Array.from([8n]), [1]);
    expect(() => k.crossEntropy_(random([1, 8], 'f32'), label, null)).toThrow(
      'label 8 of row 0 is not one of 8',
    );
  });
});
