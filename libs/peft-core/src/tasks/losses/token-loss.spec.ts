import {
  crossEntropy,
  indexSelect,
  keep,
  linear,
  mul,
  narrow,
  tensor,
  tidy,
  type Tensor,
  to,
} from '@graft/kernels';
import { expect, it } from 'vitest';
import type { Sequence, VirtualRows } from '../../nn/batch.js';
import type { PackedSequences } from '../batches/pack.js';
import type { Model } from '../../models/model.js';
import { CHUNK_ROWS, packedLoss } from './token-loss.js';

const [T, D, V] = [2 * CHUNK_ROWS + 37, 16, 29];
const wave = (n: number, scale: number, shift: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => scale * Math.sin(1.7 * i + shift));

function leaf(data: Float32Array, shape: number[]): Tensor {
  const made = keep(tensor(data, shape));
  made.requiresGrad = true;
  return made;
}

// The loss uses only the head of a model.
const withHead = (w: Tensor): Model =>
  ({ head: (_: string, h: Tensor) => linear(h, to(w, h.dtype)) }) as unknown as Model;

const labels = Int32Array.from({ length: T }, (_, i) =>
  i % 3 === 0 || i === T - 1 ? -100 : (i * 7) % V,
);
const half = Math.floor(T / 2);
const packed = (
  wanted: Int32Array,
  sequences: readonly Sequence[],
  firstLabels = new Int32Array(sequences.length).fill(-100),
): PackedSequences => {
  const { length } = wanted;
  const decoder = { inputs: new Int32Array(length), positions: new Int32Array(length), sequences };
  return { batch: { encoder: null, decoder }, labels: wanted, firstLabels };
};
const batch = packed(labels, [
  { run: 4, start: 0, length: half },
  { run: 9, start: half, length: T - half },
]);
const rows = (hidden: Tensor, virtual: ReadonlyMap<number, VirtualRows> = new Map()) => ({
  hidden,
  virtual,
});
const ctx = { training: true, runs: new Map() };

/** Plain computation in f64 over all rows together. */
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

it('equals plain cross-entropy over all rows of each run, including gradients', () => {
  const [data, weights] = [wave(T * D, 1, 0), wave(V * D, 0.8, 1)];
  const [h, w] = [leaf(data, [T, D]), leaf(weights, [V, D])];
  const sums = packedLoss(
    withHead(w),
    rows(h),
    batch,
    ctx,
    new Map([
      [4, 0.01],
      [9, 0.01],
    ]),
  );
  const learnt = [...labels.keys()].filter((row) => (labels[row] as number) >= 0);
  const wanted = reference(data, weights, learnt, 0.01);
  const [a, b] = [sums.get(4), sums.get(9)];
  expect((a?.loss ?? 0) + (b?.loss ?? 0)).toBeCloseTo(wanted.loss, 3);
  expect((a?.count ?? 0) + (b?.count ?? 0)).toBe(learnt.length);
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
    rows(one),
    batch,
    ctx,
    new Map([
      [4, 1],
      [9, 1],
    ]),
  );
  packedLoss(
    withHead(w),
    rows(two),
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

it('equals plain cross-entropy in bf16 up to rounding', () => {
  const data = wave(T * D, 1, 0);
  const w = keep(tensor(wave(V * D, 0.8, 1), [V, D]));
  const h = leaf(data, [T, D]);
  const sums = packedLoss(
    withHead(w),
    rows(to(h, 'bf16')),
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

it('predicts a target before the first token from the last virtual token', () => {
  const w = keep(tensor(wave(V * D, 0.8, 1), [V, D]));
  const virtual = leaf(wave(D, 1, 3), [1, D]);
  const h = leaf(wave(4 * D, 1, 0), [4, D]);
  const sequences = [
    { run: 1, start: 0, length: 2 },
    { run: 1, start: 2, length: 2 },
  ];
  const small = packed(Int32Array.of(1, -100, 2, -100), sequences, Int32Array.of(5, -100));
  const output = rows(h, new Map([[1, { hidden: virtual, taskIds: [0], promptTargets: [] }]]));
  const sums = packedLoss(withHead(w), output, small, ctx, new Map([[1, 1]]));
  expect(sums.get(1)?.count).toBe(3);
  expect((virtual.grad?.toArray() as Float32Array).some((g) => g !== 0)).toBe(true);
});

it('trains weighted prompt tokens once per following sequence', () => {
  const w = leaf(wave(V * D, 0.8, 1), [V, D]);
  const [prompt, h] = [leaf(wave(3 * D, 1, 3), [3, D]), leaf(wave(5 * D, 1, 0), [5, D])];
  const sequences = [
    { run: 1, start: 0, length: 2 },
    { run: 1, start: 2, length: 2 },
    { run: 2, start: 4, length: 1 },
  ];
  const wanted = Int32Array.of(1, -100, 2, -100, 3);
  const three = packed(wanted, sequences, Int32Array.of(5, -100, 6));
  const promptTargets = [
    { row: 0, label: 7, weight: 0.5 },
    { row: 1, label: 8, weight: 0.25 },
  ];
  const output = rows(h, new Map([[1, { hidden: prompt, taskIds: [0], promptTargets }]]));
  const scales = new Map([
    [1, 0.1],
    [2, 1],
  ]);
  const sums = packedLoss(withHead(w), output, three, ctx, scales);
  const [ours, theirs, dw] = [prompt, h, w].map((t) => t.grad?.toArray() as Float32Array);

  // Reference: [row, target, factor of its loss].
  const plain = [
    [0, 7, 2 * 0.5],
    [1, 8, 2 * 0.25],
    [2, 5, 1],
  ] as const;
  const real = [
    [0, 1, 0.1],
    [2, 2, 0.1],
    [4, 3, 1],
  ] as const;
  const [a, b, c] = [prompt, h, w].map((t) => leaf(t.toArray() as Float32Array, [...t.shape]));
  const lossOf = (rows: Tensor, row: number, label: number): Tensor =>
    crossEntropy(
      linear(narrow(rows, 0, row, 1), c as Tensor),
      tensor(BigInt64Array.of(BigInt(label)), [1]),
      { reduction: 'sum' },
    );
  let promptLoss = 0;
  tidy(() => {
    for (const [row, label, weight] of plain) {
      const loss = lossOf(a as Tensor, row, label);
      promptLoss += weight * loss.item();
      mul(loss, 0.1 * weight).backward();
    }
    for (const [row, label, weight] of real)
      mul(lossOf(b as Tensor, row, label), weight).backward();
  });
  const own = tidy(() => lossOf(b as Tensor, 0, 1).item() + lossOf(b as Tensor, 2, 2).item());
  expect(sums.get(1)?.loss).toBeCloseTo(promptLoss + own, 4);
  expect(sums.get(1)?.count).toBe(2 * 2 + 1 + 2);
  expect(sums.get(2)?.count).toBe(1);
  close(ours as Float32Array, a?.grad?.toArray() as Float32Array, 1e-5);
  close(theirs as Float32Array, b?.grad?.toArray() as Float32Array, 1e-5);
  close(dw as Float32Array, c?.grad?.toArray() as Float32Array, 1e-5);
});

it('predicts a target before the first token from the prompt of its task', () => {
  const w = keep(tensor(wave(V * D, 0.8, 1), [V, D]));
  const [prompts, h] = [leaf(wave(2 * D, 1, 3), [2, D]), leaf(wave(3 * D, 1, 0), [3, D])];
  const sequences = [
    { run: 1, taskId: 4, start: 0, length: 1 },
    { run: 1, taskId: 2, start: 1, length: 1 },
    { run: 1, taskId: 4, start: 2, length: 1 },
  ];
  const unlabelled = Int32Array.of(-100, -100, -100);
  const output = rows(h, new Map([[1, { hidden: prompts, taskIds: [4, 2], promptTargets: [] }]]));
  const gradients = (first: number[]): boolean[] => {
    prompts.zeroGrad();
    const three = packed(unlabelled, sequences, Int32Array.from(first));
    expect(packedLoss(withHead(w), output, three, ctx, new Map([[1, 1]])).get(1)?.count).toBe(1);
    const all = prompts.grad?.toArray() as Float32Array;
    return [0, 1].map((row) => all.subarray(row * D, (row + 1) * D).some((g) => g !== 0));
  };
  expect(gradients([-100, 5, -100])).toEqual([false, true]);
  expect(gradients([-100, -100, 5])).toEqual([true, false]);
});

it('counts correct predictions, and none without supervised rows', () => {
  const w = keep(
    tensor(
      Float32Array.from({ length: 9 }, (_, i) => (i % 4 === 0 ? 1 : 0)),
      [3, 3],
    ),
  );
  const h = keep(tensor([5, 0, 0, 0, 5, 0, 0, 0, 5], [3, 3]));
  const three = (l: number[]): PackedSequences =>
    packed(Int32Array.from(l), [{ run: 1, start: 0, length: 3 }]);
  expect(packedLoss(withHead(w), rows(h), three([0, 1, 0]), ctx, null).get(1)).toMatchObject({
    correct: 2,
    count: 3,
  });
  expect(packedLoss(withHead(w), rows(h), three([-100, -100, -100]), ctx, null).size).toBe(0);
});
