import {
  crossEntropy,
  indexSelect,
  keep,
  linear,
  mul,
  tensor,
  tidy,
  type Tensor,
  to,
} from '@graft/kernels';
import { expect, it } from 'vitest';
import type { Model } from '../models/model.js';
import { CHUNK_ROWS, packedLoss } from './loss.js';

const [T, D, V] = [2 * CHUNK_ROWS + 37, 16, 29];
const wave = (n: number, scale: number, shift: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => scale * Math.sin(1.7 * i + shift));

function leaf(data: Float32Array, shape: number[]): Tensor {
  const made = keep(tensor(data, shape));
  made.requiresGrad = true;
  return made;
}

// Only what the loss asks of a model: a head.
const withHead = (w: Tensor): Model =>
  ({ head: (h: Tensor) => linear(h, to(w, h.dtype)) }) as unknown as Model;

const labels = Int32Array.from({ length: T }, (_, i) =>
  i % 3 === 0 || i === T - 1 ? -100 : (i * 7) % V,
);
const half = Math.floor(T / 2);
const batch = {
  tokens: new Int32Array(T),
  positions: new Int32Array(T),
  labels,
  sequences: [
    { run: 4, start: 0, length: half },
    { run: 9, start: half, length: T - half },
  ],
};
const ctx = { training: true, runs: new Map(), rows: [] };

/** Plain maths in f64 over all rows at once. */
function reference(
  hidden: ArrayLike<number>,
  weights: ArrayLike<number>,
  rows: number[],
  scale: number,
): { loss: number; dh: Float64Array; dw: Float64Array } {
  return tidy(() => {
    const wide = (values: ArrayLike<number>, size: number): Tensor => {
      const t = to(tensor(Float32Array.from(values), [size, D]), 'f64').detach();
      t.requiresGrad = true;
      return t;
    };
    const [h, w] = [wide(hidden, T), wide(weights, V)];
    const picked = indexSelect(h, 0, tensor(BigInt64Array.from(rows, BigInt), [rows.length]));
    const y = tensor(
      BigInt64Array.from(rows, (row) => BigInt(labels[row] as number)),
      [rows.length],
    );
    const loss = crossEntropy(linear(picked, w), y, { reduction: 'sum' });
    mul(loss, scale).backward();
    return {
      loss: loss.item(),
      dh: h.grad?.toArray() as Float64Array,
      dw: w.grad?.toArray() as Float64Array,
    };
  });
}

const close = (ours: ArrayLike<number>, theirs: ArrayLike<number>, tolerance: number): void => {
  const scale = Math.max(...Array.from(theirs, Math.abs));
  const worst = Math.max(
    ...Array.from(ours, (value, i) => Math.abs(value - (theirs[i] as number))),
  );
  expect(worst / scale).toBeLessThan(tolerance);
};

it('equals plain cross-entropy over all rows, gradients included, run by run', () => {
  const [data, weights] = [wave(T * D, 1, 0), wave(V * D, 0.8, 1)];
  const [h, w] = [leaf(data, [T, D]), leaf(weights, [V, D])];
  const sums = packedLoss(
    withHead(w),
    h,
    batch,
    ctx,
    new Map([
      [4, 0.01],
      [9, 0.01],
    ]),
  );
  const rows = [...labels.keys()].filter((row) => (labels[row] as number) >= 0);
  const wanted = reference(data, weights, rows, 0.01);
  const [a, b] = [sums.get(4), sums.get(9)];
  expect((a?.loss ?? 0) + (b?.loss ?? 0)).toBeCloseTo(wanted.loss, 3);
  expect((a?.count ?? 0) + (b?.count ?? 0)).toBe(rows.length);
  close(h.grad?.toArray() as Float32Array, wanted.dh, 1e-5);
  close(w.grad?.toArray() as Float32Array, wanted.dw, 1e-5);
  expect((h.grad?.toArray() as Float32Array).subarray(0, D).every((g) => g === 0)).toBe(true);
});

it('scales each run by its own factor', () => {
  const data = wave(T * D, 1, 0);
  const w = keep(tensor(wave(V * D, 0.8, 1), [V, D]));
  const [one, two] = [leaf(data, [T, D]), leaf(data, [T, D])];
  packedLoss(
    withHead(w),
    one,
    batch,
    ctx,
    new Map([
      [4, 1],
      [9, 1],
    ]),
  );
  packedLoss(
    withHead(w),
    two,
    batch,
    ctx,
    new Map([
      [4, 1],
      [9, 0.25],
    ]),
  );
  const [g, scaled] = [one.grad?.toArray() as Float32Array, two.grad?.toArray() as Float32Array];
  close(scaled.subarray(0, half * D), g.subarray(0, half * D), 1e-9);
  close(
    scaled.subarray(half * D).map((value) => 4 * value),
    g.subarray(half * D),
    1e-6,
  );
});

it('does the same in bf16 within its rounding', () => {
  const data = wave(T * D, 1, 0);
  const w = keep(tensor(wave(V * D, 0.8, 1), [V, D]));
  const h = leaf(data, [T, D]);
  const sums = packedLoss(
    withHead(w),
    to(h, 'bf16'),
    batch,
    ctx,
    new Map([
      [4, 0.01],
      [9, 0.01],
    ]),
  );
  const wanted = reference(
    data,
    w.toArray() as Float32Array,
    [...labels.keys()].filter((row) => (labels[row] as number) >= 0),
    0.01,
  );
  expect(((sums.get(4)?.loss ?? 0) + (sums.get(9)?.loss ?? 0)) / wanted.loss).toBeCloseTo(1, 2);
  close(h.grad?.toArray() as Float32Array, wanted.dh, 2e-2);
});

it('learns a target before the first token from the last virtual one', () => {
  const w = keep(tensor(wave(V * D, 0.8, 1), [V, D]));
  const virtual = leaf(wave(D, 1, 3), [1, D]);
  const h = leaf(wave(4 * D, 1, 0), [4, D]);
  const small = {
    tokens: new Int32Array(4),
    positions: new Int32Array(4),
    labels: Int32Array.of(1, -100, 2, -100),
    sequences: [
      { run: 1, start: 0, length: 2, first: 5 },
      { run: 1, start: 2, length: 2, first: -100 },
    ],
  };
  const sums = packedLoss(
    withHead(w),
    h,
    small,
    { ...ctx, virtual: new Map([[1, virtual]]) },
    new Map([[1, 1]]),
  );
  expect(sums.get(1)?.count).toBe(3);
  expect((virtual.grad?.toArray() as Float32Array).some((g) => g !== 0)).toBe(true);
});

it('counts what was right, and nothing where nothing is supervised', () => {
  const w = keep(
    tensor(
      Float32Array.from({ length: 9 }, (_, i) => (i % 4 === 0 ? 1 : 0)),
      [3, 3],
    ),
  );
  const h = keep(tensor([5, 0, 0, 0, 5, 0, 0, 0, 5], [3, 3]));
  const three = (l: number[]) => ({
    tokens: new Int32Array(3),
    positions: new Int32Array(3),
    labels: Int32Array.from(l),
    sequences: [{ run: 1, start: 0, length: 3 }],
  });
  expect(packedLoss(withHead(w), h, three([0, 1, 0]), ctx, null).get(1)).toMatchObject({
    correct: 2,
    count: 3,
  });
  expect(packedLoss(withHead(w), h, three([-100, -100, -100]), ctx, null).size).toBe(0);
});
