import { describe, expect, it } from 'vitest';
import { expectNear, numbers } from '../../test/near.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const values = [-2, -0.5, 0.25, 1, 3, -1.5];
const x = k.tensor(values, [2, 3]);
const positive = k.tensor([0.25, 1, 4], [3]);
const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));

describe('element by element', () => {
  it.each<[string, () => Tensor, number[]]>([
    ['add', () => k.add(x, x), values.map((v) => 2 * v)],
    ['add alpha', () => k.add(x, 1, 3), values.map((v) => v + 3)],
    ['sub', () => k.sub(x, x, 2), values.map((v) => -v)],
    ['sub number', () => k.sub(x, 1), values.map((v) => v - 1)],
    ['mul', () => k.mul(x, x), values.map((v) => v * v)],
    ['mul broadcast', () => k.mul(x, positive), [-0.5, -0.5, 1, 0.25, 3, -6]],
    ['div', () => k.div(x, positive), [-8, -0.5, 0.0625, 4, 3, -0.375]],
    ['div number', () => k.div(x, 2), values.map((v) => v / 2)],
    ['neg', () => k.neg(x), values.map((v) => -v)],
    ['log', () => k.log(positive), [0.25, 1, 4].map(Math.log)],
    ['sqrt', () => k.sqrt(positive), [0.5, 1, 2]],
    ['rsqrt', () => k.rsqrt(positive), [2, 1, 0.5]],
    ['reciprocal', () => k.reciprocal(positive), [4, 1, 0.25]],
    ['square', () => k.square(x), values.map((v) => v * v)],
    ['abs', () => k.abs(x), values.map(Math.abs)],
    ['sin', () => k.sin(x), values.map(Math.sin)],
    ['cos', () => k.cos(x), values.map(Math.cos)],
    ['tanh', () => k.tanh(x), values.map(Math.tanh)],
    ['sigmoid', () => k.sigmoid(x), values.map(sigmoid)],
    ['relu', () => k.relu(x), values.map((v) => Math.max(0, v))],
    ['silu', () => k.silu(x), values.map((v) => v * sigmoid(v))],
    [
      'gelu',
      () => k.gelu(x),
      [-0.0455003, -0.1542688, 0.1496766, 0.8413447, 2.9959497, -0.1002109],
    ],
    [
      'gelu tanh',
      () => k.gelu(x, 'tanh'),
      values.map(
        (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
      ),
    ],
    ['clamp', () => k.clamp(x, -1, 1), [-1, -0.5, 0.25, 1, 1, -1]],
    ['clamp below', () => k.clamp(x, 0), [0, 0, 0.25, 1, 3, 0]],
    ['minimum', () => k.minimum(x, k.neg(x)), values.map((v) => -Math.abs(v))],
    ['maximum', () => k.maximum(x, k.neg(x)), values.map(Math.abs)],
    ['log10', () => k.log10(k.add(k.abs(x), 1)), values.map((v) => Math.log10(Math.abs(v) + 1))],
    [
      'softmax',
      () => k.softmax(x),
      [0.0668028, 0.2993895, 0.6338077, 0.1180478, 0.8722622, 0.00969],
    ],
    [
      'logSoftmax',
      () => k.logSoftmax(x),
      [-2.7060099, -1.2060097, -0.4560097, -2.1366653, -0.1366653, -4.6366653],
    ],
    ['logsumexp', () => k.logsumexp(x, -1), [0.7060097, 3.1366653]],
  ])('%s', (_name, make, expected) => {
    k.tidy(() => expectNear(make(), expected, 1e-6));
  });

  it('computes softmax in another dtype on request', () => {
    expect(k.tidy(() => k.softmax(k.to(x, 'bf16'), -1, 'f32').dtype)).toBe('f32');
  });
});

describe('reductions', () => {
  it.each<[string, () => Tensor, number[]]>([
    ['sum', () => k.sum(x), [0.25]],
    ['sum dim', () => k.sum(x, 0), [-1, 2.5, -1.25]],
    ['sum dims', () => k.sum(x, [0, 1]), [0.25]],
    ['mean', () => k.mean(x), [0.25 / 6]],
    ['mean dim', () => k.mean(x, 1, true), [-0.75, 2.5 / 3]],
    ['amax', () => k.amax(x, 1), [0.25, 3]],
    ['max', () => k.max(x), [3]],
    ['min', () => k.min(x), [-2]],
    ['argmax', () => k.argmax(x), [4]],
    ['argmax dim', () => k.argmax(x, 1), [2, 1]],
    ['norm', () => k.norm(x), [Math.sqrt(values.reduce((s, v) => s + v * v, 0))]],
    ['norm 1 dim', () => k.norm(x, 1, 1), [2.75, 5.5]],
    ['norm inf', () => k.norm(x, Infinity), [3]],
  ])('%s', (_name, make, expected) => {
    k.tidy(() => expectNear(make(), expected, 1e-6));
  });

  it('keeps the requested dimensions and dtypes', () => {
    k.tidy(() => {
      expect(k.sum(x, 1, true).shape).toEqual([2, 1]);
      expect(k.sum(k.to(x, 'bf16'), 1, false, 'f32').dtype).toBe('f32');
      expect(k.sum(k.zeros([0])).item()).toBe(0);
      expect(k.mean(k.zeros([0])).item()).toBeNaN();
      expect(() => k.max(k.zeros([0]))).toThrow('aten::max(self f32[0])');
    });
  });
});

describe('comparisons', () => {
  it('give booleans', () => {
    k.tidy(() => {
      const y = k.tensor([-2, 0, 0.25], [3]);
      const row = k.select(x, 0, 0);
      expect([k.eq, k.lt, k.gt, k.ge].map((op) => numbers(op(row, y)))).toEqual([
        [1, 0, 1],
        [0, 1, 0],
        [0, 0, 0],
        [1, 0, 1],
      ]);
      expect([k.eq, k.lt, k.gt, k.ge].map((op) => numbers(op(row, -0.5)))).toEqual([
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 1],
      ]);
      expect(k.eq(row, y).dtype).toBe('bool');
    });
  });

  it('can be concatenated and reversed', () => {
    k.tidy(() => {
      const above = k.gt(x, 0);
      expect([k.all(above).item(), k.any(above).item()]).toEqual([0, 1]);
      expect(numbers(k.logicalNot(above))).toEqual([1, 1, 0, 0, 0, 1]);
    });
  });
});

it('sorts and picks the largest', () => {
  k.tidy(() => {
    const { values: sorted, indices } = k.sort(x, 1, true);
    expect([numbers(sorted), numbers(indices)]).toEqual([
      [0.25, -0.5, -2, 3, 1, -1.5],
      [2, 1, 0, 1, 0, 2],
    ]);
    const top = k.topk(x, 1, 1, false);
    expect([numbers(top.values), numbers(top.indices)]).toEqual([
      [-2, -1.5],
      [0, 2],
    ]);
  });
});
