// Expected numbers are PyTorch's (2.13, f32) unless they are computed in the test.
import { describe, expect, it } from 'vitest';
import { expectNear, numbers } from '../../test/near.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const x = k.tensor([-2, -0.5, 0.25, 1, 3, -1.5], [2, 3]);
const w = k.tensor([1, 2, 0.5], [3]);
const b = k.tensor([0.1, -0.2, 0.3], [3]);

describe('norms', () => {
  it('layerNorm', () => {
    k.tidy(() => {
      expectNear(
        k.layerNorm(x, w, b),
        [-1.2362986, 0.3345194, 0.8345194, 0.1905356, 2.1539257, -0.3337493],
      );
      const plain = k.layerNorm(x, null);
      expectNear(k.mean(plain, -1), [0, 0], 1e-6);
    });
  });

  it('rmsNorm', () => {
    k.tidy(() => {
      expectNear(
        k.rmsNorm(x, w, 1e-6),
        [-1.6681148, -0.8340574, 0.1042572, 0.4948716, 2.9692295, -0.3711537],
      );
      expectNear(k.mean(k.square(k.rmsNorm(x, null)), -1), [1, 1]);
    });
  });

  it('rmsNorm of bf16 is computed in f32 and rounded before scaling', () => {
    k.tidy(() => {
      const y = k.rmsNorm(k.to(x, 'bf16'), k.to(w, 'bf16'), 1e-6);
      expect(y.dtype).toBe('bf16');
      expect(numbers(y)).toEqual([
        -1.671875, -0.8359375, 0.1044921875, 0.494140625, 2.96875, -0.37109375,
      ]);
    });
  });
});

describe('attention', () => {
  const q = k.tensor(
    Array.from({ length: 12 }, (_, i) => i / 10 - 0.5),
    [1, 2, 3, 2],
  );
  const keys = k.tensor(
    Array.from({ length: 6 }, (_, i) => i / 7 - 0.3),
    [1, 1, 3, 2],
  );
  const v = k.tensor([1, 2, 3, 4, 5, 6], [1, 1, 3, 2]);
  const q1 = k.narrow(q, 1, 0, 1);

  it('causal, grouped, scaled', () => {
    k.tidy(() => {
      const out = k.scaledDotProductAttention(q, keys, v, {
        isCausal: true,
        enableGqa: true,
        scale: 0.7,
      });
      expect(out.shape).toEqual([1, 2, 3, 2]);
      expectNear(
        out,
        [
          1, 2, 1.9500417, 2.9500415, 2.9733353, 3.9733353, 1, 2, 2.0698857, 3.0698857, 3.2909918,
          4.2909918,
        ],
      );
    });
  });

  it('takes boolean and additive masks', () => {
    k.tidy(() => {
      const mask = k.tensor([1, 0, 1, 1, 1, 0, 0, 1, 1], [3, 3], 'bool');
      expectNear(
        k.scaledDotProductAttention(q1, keys, v, { mask }),
        [2.6403005, 3.6403003, 1.9495353, 2.9495354, 3.9898989, 4.9898992],
      );
      const bias = k.tensor([0, 1, 2, -1, 0, 1, 0, 0, 0], [3, 3]);
      expectNear(
        k.scaledDotProductAttention(q1, keys, v, { mask: bias }),
        [3.9845297, 4.9845295, 4.0611162, 5.0611162, 2.9730647, 3.9730644],
      );
    });
  });

  it('in bf16 is accurate to bf16 with every libtorch', () => {
    k.tidy(() => {
      const half = (t: Tensor): Tensor => k.to(t, 'bf16');
      const out = k.scaledDotProductAttention(half(q1), half(keys), half(v), {
        isCausal: true,
        mask: null,
      });
      const exact = k.scaledDotProductAttention(q1, keys, v, { isCausal: true });
      expect(out.dtype).toBe('bf16');
      expectNear(k.to(out, 'f32'), numbers(exact), 2e-2);
    });
  });

  it('names mismatched shapes', () => {
    expect(() => k.scaledDotProductAttention(q, k.zeros([1, 2, 3, 4]), v)).toThrow(
      /query f32\[1,2,3,2\], key f32\[1,2,3,4\]/,
    );
  });
});

describe('losses', () => {
  const labels = k.tensor([2, 0], [2], 'i64');
  const masked = k.tensor([2, -100], [2], 'i64');

  it('crossEntropy in all reductions', () => {
    k.tidy(() => {
      expectNear(k.crossEntropy(x, masked, { reduction: 'none' }), [0.4560097, 0]);
      expectNear(k.crossEntropy(x, masked), [0.4560097]);
      expectNear(k.crossEntropy(x, labels, { reduction: 'sum' }), [0.4560097 + 2.1366653]);
      expectNear(k.crossEntropy(x, labels, { labelSmoothing: 0.1 }), [1.3546709]);
      expectNear(k.crossEntropy(x, labels, { ignoreIndex: 0 }), [0.4560097]);
      expect(k.crossEntropy(x, k.full([2], -100, 'i64')).item()).toBeNaN(); // a mean over no elements
    });
  });

  it('rejects labels outside the classes', () => {
    expect(() => k.tidy(() => k.crossEntropy(x, k.tensor([3, 0], [2], 'i64')))).toThrow(
      'Target 3 is out of bounds',
    );
    expect(() => k.tidy(() => k.crossEntropy(x, k.tensor([1, 0, 0], [3], 'i64')))).toThrow(
      'self f32[2,3], target i64[3]',
    );
  });

  it('ctcLoss of targets with one and with several alignments', () => {
    k.tidy(() => {
      const logP = k.logSoftmax(k.tensor([1, 2, 0, 0, 3, 1, 2, 0, 0], [3, 3]));
      const at = (row: number, letter: number): number => numbers(logP)[3 * row + letter] as number;
      const loss = (...target: number[]): number =>
        k.ctcLoss(logP, k.tensor(target, [target.length], 'i64'), { blank: 0 }).item();
      expect(loss(1, 1)).toBeCloseTo(-(at(0, 1) + at(1, 0) + at(2, 1)), 5);
      const ways = [[1, 2, 0], [1, 0, 2], [0, 1, 2], [1, 1, 2], [1, 2, 2]]; // prettier-ignore
      const all = ways.map((way) => Math.exp(way.reduce((sum, letter, row) => sum + at(row, letter), 0))); // prettier-ignore
      expect(loss(1, 2)).toBeCloseTo(-Math.log(all.reduce((a, b) => a + b)), 5);
      expect(loss(1, 1, 1)).toBe(Infinity);
      const zero = { blank: 0, zeroInfinity: true };
      expect(k.ctcLoss(logP, k.tensor([1, 1, 1], [3], 'i64'), zero).item()).toBe(0);
    });
  });

  it('crossEntropy has the gradient that PyTorch computes', () => {
    k.tidy(() => {
      const leaf = k.clone(x);
      leaf.requiresGrad = true;
      k.crossEntropy(leaf, labels).backward();
      expectNear(
        leaf.grad as Tensor,
        [0.0334014, 0.1496948, -0.1830962, -0.4409761, 0.4361311, 0.004845],
      );
    });
  });
});

it('lstm', () => {
  k.tidy(() => {
    const weight = (shape: number[], j: number): Tensor => {
      const n = shape.reduce((p, s) => p * s, 1);
      return k.tensor(
        Array.from({ length: n }, (_, i) => ((i % 5) - 2) / 4 + j * 0.05),
        shape,
      );
    };
    const weights = [weight([8, 2], 0), weight([8, 2], 1), weight([8], 2), weight([8], 3)];
    const input = k.tensor([1, -1, 0.5, 2], [2, 1, 2]);
    const { output, h, c } = k.lstm(input, [k.zeros([1, 1, 2]), k.zeros([1, 1, 2])], weights);
    expectNear(output, [0.0762659, -0.217537, 0.1412188, -0.2430065]);
    expectNear(h, [0.1412188, -0.2430065]);
    expectNear(c, [0.2641469, -0.6797723]);
  });
});

it('convTranspose2d adds a filter at each position, cropped by the padding', () => {
  k.tidy(() => {
    const x = k.tensor([1, 2, 10, 20], [2, 1, 2]);
    const filters = k.tensor([1, 2, 3, 4, 0, 1, 0, 0], [2, 1, 2, 2]);
    const whole = k.convTranspose2d(x, filters, { stride: 2 });
    expect(whole.shape).toEqual([1, 2, 4]);
    expectNear(whole, [1, 12, 2, 24, 3, 4, 6, 8]);
    const padded = k.convTranspose2d(k.cat([x, x], 1), filters, { stride: 2, padding: 1 });
    expectNear(padded, [4, 6, 12, 2]);
    expect(padded.shape).toEqual([1, 2, 2]);
  });
});
