import { describe, expect, it } from 'vitest';
import { numbers } from '../../test/near.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const a = k.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
const b = k.tensor([1, 0, -1, 2, 0.5, 1], [3, 2]);
const ab = [1 - 2 + 1.5, 4 + 3, 4 - 5 + 3, 10 + 6];

it.each<[string, () => Tensor, number[]]>([
  ['matmul', () => k.matmul(a, b), ab],
  ['matmul of vectors', () => k.matmul(k.select(a, 0, 0), k.select(a, 0, 1)), [32]],
  ['matmul broadcast', () => k.matmul(k.unsqueeze(a, 0), k.unsqueeze(b, 0)), ab],
  ['mm', () => k.mm(a, b), ab],
  ['bmm', () => k.bmm(k.stack([a, k.neg(a)]), k.stack([b, b])), [...ab, ...ab.map((v) => -v)]],
  ['addmm', () => k.addmm(k.ones([2, 2]), a, b, { beta: 10, alpha: 2 }), ab.map((v) => 2 * v + 10)],
  ['addmm default', () => k.addmm(k.ones([2]), a, b), ab.map((v) => v + 1)],
  [
    'linear',
    () => k.linear(a, k.transpose(b, 0, 1), k.tensor([1, -1], [2])),
    ab.map((v, i) => v + (i % 2 ? -1 : 1)),
  ],
  ['linear without bias', () => k.linear(a, k.transpose(b, 0, 1)), ab],
  ['outer', () => k.outer(k.tensor([1, 2], [2]), k.tensor([3, 4], [2])), [3, 4, 6, 8]],
  [
    'embedding',
    () => k.embedding(a, k.tensor([1, 0, 1], [3, 1], 'i64')),
    [4, 5, 6, 1, 2, 3, 4, 5, 6],
  ],
  ['bf16 mm', () => k.mm(k.to(a, 'bf16'), k.to(b, 'bf16')), ab],
  ['empty mm', () => k.mm(k.zeros([2, 0]), k.zeros([0, 2])), [0, 0, 0, 0]],
])('%s', (_name, make, expected) => {
  expect(k.tidy(() => numbers(make()))).toEqual(expected);
});

describe.each([
  ['tall', [5, 3]],
  ['wide', [3, 5]],
  ['of one row', [1, 4]],
] as const)('%s', (_name, shape) => {
  const m = k.counterNormal(shape, { seed: 1, step: 0, site: 0 });
  const least = Math.min(...shape);
  const identity = k.tensor(
    Array.from({ length: least ** 2 }, (_, i) => Number(i % (least + 1) === 0)),
    [least, least],
  );
  const near = (ours: Tensor, reference: Tensor): void => {
    const values = numbers(reference);
    numbers(ours).forEach((value, i) => expect(value).toBeCloseTo(values[i] as number, 5));
  };

  it('qr', () =>
    k.tidy(() => {
      const { q, r } = k.qr(m);
      near(k.mm(q, r), m);
      near(k.mm(k.transpose(q, 0, 1), q), identity);
    }));

  it('svd', () =>
    k.tidy(() => {
      const { u, s, vh } = k.svd(m);
      near(k.mm(k.mul(u, s), vh), m);
      near(k.mm(k.transpose(u, 0, 1), u), identity);
      near(k.mm(vh, k.transpose(vh, 0, 1)), identity);
      expect(numbers(s)).toEqual([...numbers(s)].sort((a, b) => b - a));
      const { u: left, vh: right } = k.svd(m, true);
      expect([left.shape, right.shape]).toEqual(shape.map((size) => [size, size]));
      near(k.narrow(right, 0, 0, least), vh);
    }));

  it('eigh', () =>
    k.tidy(() => {
      const symmetric = k.mm(k.transpose(m, 0, 1), m);
      const { values, vectors } = k.eigh(symmetric);
      near(k.mm(k.mul(vectors, values), k.transpose(vectors, 0, 1)), symmetric);
      expect(numbers(values)).toEqual([...numbers(values)].sort((a, b) => a - b));
    }));
});

it('einsum sums over letters that are absent from the output', () => {
  k.tidy(() => expect(numbers(k.einsum('nk,km->mn', a, b))).toEqual([ab[0], ab[2], ab[1], ab[3]]));
});

it('solve, from the left and from the right, has a gradient', () => {
  k.tidy(() => {
    const square = k.tensor([4, 1, 0, 2, 3, 1, 0, 1, 2], [3, 3]);
    const right = k.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3]);
    for (const product of [
      k.mm(square, k.solve(square, right)),
      k.mm(k.solve(square, right, false), square),
    ])
      numbers(product).forEach((value, i) => expect(value).toBeCloseTo(i + 1, 5));
    const leaf = k.mul(k.ones([1, 1]), 2);
    leaf.requiresGrad = true;
    k.backward([k.sum(k.solve(leaf, k.ones([1, 1])))], [null]);
    expect(numbers(leaf.grad as Tensor)).toEqual([-0.25]);
  });
});

it('solves regular systems in f64 and returns null for singular ones', () => {
  k.tidy(() => {
    const square = k.to(k.tensor([4, 1, 2, 3], [2, 2]), 'f64');
    const x = k.solveIfRegular(square, k.to(k.tensor([9, 8], [2, 1]), 'f64')) as Tensor;
    expect(x.dtype).toBe('f64');
    numbers(x).forEach((value, i) => expect(value).toBeCloseTo([1.9, 1.4][i] as number, 12));
    expect(k.solveIfRegular(k.tensor([1, 2, 2, 4], [2, 2]), k.ones([2, 1]))).toBeNull();
  });
});

it('pinv treats values that are small relative to the largest as 0', () =>
  k.tidy(() => {
    const m = k.tensor([1, 0, 0, 1e-3], [2, 2]);
    expect(numbers(k.pinv(m))[3]).toBeCloseTo(1000, 2);
    expect(numbers(k.pinv(m, 0.01))[3]).toBe(0);
  }));

it('pinv', () =>
  k.tidy(() => {
    const half = k.tensor([2, 0, 0, 0, 4, 0, 0, 0, 0], [3, 3]);
    numbers(k.pinv(half)).forEach((value, i) =>
      expect(value).toBeCloseTo([0.5, 0, 0, 0, 0.25, 0, 0, 0, 0][i] as number, 6),
    );
  }));
