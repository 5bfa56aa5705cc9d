import { describe, expect, it } from 'vitest';
import { expectNear, numbers } from '../test/near.js';
import {
  add,
  backward,
  bmm,
  clone,
  counterDropout,
  counterNormal,
  crossEntropy,
  gelu,
  grad,
  layerNorm,
  linear,
  logSoftmax,
  memory,
  mul,
  noGrad,
  rmsNorm,
  scaledDotProductAttention,
  silu,
  softmax,
  sum,
  tensor,
  tidy,
  to,
  transpose,
  zeros,
} from './index.js';
import type { Tensor } from './index.js';

const leaf = (values: number[], shape: number[]): Tensor => {
  const t = tensor(values, shape);
  t.requiresGrad = true;
  return t;
};

describe('backward', () => {
  it('accumulates until zeroGrad', () => {
    tidy(() => {
      const x = leaf([1, 2, 3], [3]);
      expect(x.grad).toBeNull();
      sum(mul(x, x)).backward();
      expectNear(x.grad as Tensor, [2, 4, 6]);
      sum(mul(x, 3)).backward();
      expectNear(x.grad as Tensor, [5, 7, 9]);
      x.zeroGrad();
      expect(x.grad).toBeNull();
    });
  });

  it('accepts a gradient for outputs of several elements', () => {
    tidy(() => {
      const x = leaf([1, 2], [2]);
      mul(x, x).backward(tensor([10, 100], [2]));
      expectNear(x.grad as Tensor, [20, 400]);
      expect(() => mul(x, x).backward()).toThrow(
        'backward(f32[2]): grad can be implicitly created only for scalar outputs',
      );
      expect(() => mul(x, x).backward(zeros([3]))).toThrow('backward(f32[2])');
    });
  });

  it('accepts several outputs', () => {
    tidy(() => {
      const x = leaf([2], [1]);
      backward([mul(x, x), mul(x, 3)], [tensor([1], [1]), tensor([2], [1])]);
      expect((x.grad as Tensor).item()).toBe(2 * 2 + 3 * 2);
      expect(() => backward([x], [])).toThrow('1 outputs but 0 gradients');
    });
  });

  it('throws if there is nothing to differentiate or the graph was freed', () => {
    tidy(() => {
      expect(() => zeros([1]).backward()).toThrow('does not require grad');
      const y = sum(mul(leaf([1], [1]), leaf([2], [1])));
      y.backward();
      expect(() => y.backward()).toThrow(
        'backward(f32[]): Trying to backward through the graph a second time',
      );
    });
  });

  it('needs no intermediate handle: tidy may free them all first', () => {
    tidy(() => {
      const x = leaf([1, 2, 3, 4], [2, 2]);
      const loss = tidy(() => sum(silu(mul(x, add(x, 1)))));
      loss.backward();
      const s = (v: number): number => 1 / (1 + Math.exp(-v));
      const slope = (v: number): number => s(v) * (1 + v * (1 - s(v)));
      expectNear(
        x.grad as Tensor,
        [1, 2, 3, 4].map((v) => slope(v * (v + 1)) * (2 * v + 1)),
      );
    });
  });

  it('stops at detach and in noGrad, also when the function throws', () => {
    tidy(() => {
      const x = leaf([3], [1]);
      expect(mul(x, x).requiresGrad).toBe(true);
      expect(mul(x, x).detach().requiresGrad).toBe(false);
      expect(noGrad(() => mul(x, x)).requiresGrad).toBe(false);
      expect(() =>
        noGrad(() => {
          throw new Error('half-way');
        }),
      ).toThrow('half-way');
      expect(mul(x, x).requiresGrad).toBe(true);
      expect(noGrad(() => noGrad(() => 1) && mul(x, x).requiresGrad)).toBe(false);
    });
  });

  it('does not print warnings or gradients for non-leaves', () => {
    tidy(() => expect(mul(leaf([1], [1]), 2).grad).toBeNull());
  });
});

describe('grad', () => {
  it('returns gradients without accumulating, null for unused inputs', () => {
    tidy(() => {
      const x = leaf([1, 2], [2]);
      const unused = leaf([1], [1]);
      const [dx, none] = grad([sum(mul(x, x))], [x, unused]);
      expectNear(dx as Tensor, [2, 4]);
      expect(none).toBeNull();
      expect(x.grad).toBeNull();
    });
  });

  it('accepts gradients of the outputs', () => {
    tidy(() => {
      const x = leaf([1, 2], [2]);
      expectNear(grad([mul(x, x)], [x], [tensor([1, 10], [2])])[0] as Tensor, [2, 40]);
    });
  });
});

describe('gradients agree with central differences (f64)', () => {
  const h = 1e-5;
  const key = { seed: 7, step: 1, site: 1 };
  const random = (shape: number[], site: number): Tensor =>
    to(counterNormal(shape, { ...key, site }), 'f64');
  const cases: [string, number[], (x: Tensor) => Tensor][] = [
    ['linear', [3, 4], (x) => linear(x, random([5, 4], 2), random([5], 3))],
    ['softmax', [3, 4], (x) => softmax(x)],
    ['logSoftmax', [3, 4], (x) => logSoftmax(x)],
    ['gelu tanh', [3, 4], (x) => gelu(x, 'tanh')],
    ['layerNorm', [3, 4], (x) => layerNorm(x, random([4], 2), random([4], 3))],
    ['bmm', [2, 3, 4], (x) => bmm(x, transpose(x, 1, 2))],
    [
      'attention',
      [1, 2, 3, 4],
      (x) => scaledDotProductAttention(x, random([1, 2, 3, 4], 2), x, { isCausal: true }),
    ],
    [
      'crossEntropy',
      [3, 4],
      (x) => crossEntropy(x, tensor([0, -100, 3], [3], 'i64'), { reduction: 'sum' }),
    ],
    ['counterDropout', [3, 4], (x) => counterDropout(x, 0.4, key)],
  ];

  it.each(cases)('%s', (_name, shape, fn) => {
    tidy(() => {
      const x = random(shape, 0);
      const weight = random(fn(x).shape as number[], 9);
      const f = (at: Tensor): Tensor => sum(mul(fn(at), weight));
      const at = clone(x);
      at.requiresGrad = true;
      f(at).backward();
      const values = x.toArray() as Float64Array;
      const numeric = Array.from(values, (_, i) => {
        const shifted = (by: number): number => {
          const copy = values.slice();
          copy[i] = (copy[i] as number) + by;
          return f(tensor(copy, shape)).item();
        };
        return (shifted(h) - shifted(-h)) / (2 * h);
      });
      expectNear(at.grad as Tensor, numeric, 1e-7);
    });
  });
});

it('rmsNorm has the gradient that PyTorch computes', () => {
  tidy(() => {
    const x = leaf([-2, -0.5, 0.25, 1, 3, -1.5], [2, 3]);
    const y = rmsNorm(x, tensor([1, 2, 0.5], [3]), 1e-6);
    sum(mul(y, y)).backward();
    expectNear(
      x.grad as Tensor,
      [0.4536839, -1.9735341, -0.3175799, -1.0120776, 1.3719292, 2.0691366],
    );
  });
});

it('an exception half-way through backward leaks nothing and the next step works', () => {
  const x = leaf([1, 2], [2]);
  const before = memory().tensors;
  for (let i = 0; i < 100; i++) {
    expect(() => tidy(() => mul(x, x).backward(zeros([5])))).toThrow('backward');
  }
  expect(memory().tensors).toBe(before);
  tidy(() => sum(mul(x, x)).backward());
  tidy(() => expect(numbers(x.grad as Tensor)).toEqual([2, 4]));
  x.dispose();
});
