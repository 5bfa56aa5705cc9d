import { describe, expect, it } from 'vitest';
import { expectNear } from '../../test/near.js';
import { adamwStep, memory, tensor, tidy, zeros, zerosLike } from '../index.js';
import type { AdamwOptions, Tensor } from '../index.js';

const options = { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-6, weightDecay: 0.05 };

/** Reference in f64 for one element. */
function reference(p: number, grads: readonly number[], o: Omit<AdamwOptions, 'step'>): number {
  let [m, v] = [0, 0];
  grads.forEach((g, i) => {
    p *= 1 - o.lr * o.weightDecay;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const [bias1, bias2] = [1 - o.beta1 ** (i + 1), 1 - o.beta2 ** (i + 1)];
    p -= ((o.lr / bias1) * m) / (Math.sqrt(v) / Math.sqrt(bias2) + o.eps);
  });
  return p;
}

describe('adamwStep', () => {
  it('follows torch.optim.AdamW over five steps', () => {
    tidy(() => {
      const params = [tensor([1, -2, 3], [3]), tensor([0.5], [1, 1])];
      const [m, v] = [params.map((p) => zerosLike(p)), params.map((p) => zerosLike(p))];
      for (let step = 1; step <= 5; step++) {
        const grads = [tensor([0.5 * step, -1, 0.25 / step], [3]), tensor([-0.1 * step], [1, 1])];
        adamwStep(params, grads, m, v, { ...options, step });
      }
      expectNear(params[0] as Tensor, [0.496233, -1.4554731, 2.4889853], 2e-7);
      expectNear(params[1] as Tensor, [0.9666381], 2e-7);
    });
  });

  it('follows the formula for 50 steps on sizes around the vector width', () => {
    for (const size of [1, 7, 8, 15, 16, 17, 33, 1000]) {
      tidy(() => {
        const start = Array.from({ length: size }, (_, i) => Math.sin(i));
        const slope = (i: number, step: number): number =>
          Math.cos(i * 3 + step) * (i % 3 === 0 ? 1e-3 : 1);
        const [p, m, v] = [tensor(start, [size]), zeros([size]), zeros([size])];
        for (let step = 1; step <= 50; step++) {
          const g = tidy(() =>
            tensor(
              start.map((_, i) => slope(i, step)),
              [size],
            ),
          );
          adamwStep([p], [g], [m], [v], { ...options, step });
        }
        const expected = start.map((s, i) =>
          reference(
            Math.fround(s),
            Array.from({ length: 50 }, (_, t) => Math.fround(slope(i, t + 1))),
            options,
          ),
        );
        expectNear(p, expected, 5e-6);
      });
    }
  });

  it('updates recorded parameters without recording or leaking', () => {
    tidy(() => {
      const p = tensor([1], [1]);
      p.requiresGrad = true;
      const [g, m, v] = [tensor([1], [1]), zeros([1]), zeros([1])];
      const handles = memory().tensors;
      adamwStep([p], [g], [m], [v], { ...options, step: 1 });
      expect(memory().tensors).toBe(handles);
      expectNear(p, [reference(1, [1], options)]);
      p.requiresGrad = false; // still a leaf
    });
  });

  it('accepts half-precision parameters and keeps moments in f32', () => {
    tidy(() => {
      const p = tensor([1, -2, 3], [3], 'bf16');
      const [m, v] = [zeros([3]), zeros([3])];
      adamwStep([p], [tensor([0.5, -1, 0.25], [3], 'bf16')], [m], [v], { ...options, step: 1 });
      expect(p.dtype).toBe('bf16');
      expectNear(p, [0.895, -1.89, 2.885], 4e-3);
      expectNear(m, [0.05, -0.1, 0.025]);
    });
  });

  it('rejects tensors that do not match', () => {
    tidy(() => {
      const [a, b] = [zeros([2]), zeros([3])];
      const at = (step: number): AdamwOptions => ({ ...options, step });
      expect(() => adamwStep([a], [b], [a], [a], at(1))).toThrow(
        'parameter 0 is f32[2], its grad f32[3]',
      );
      expect(() => adamwStep([a], [], [a], [a], at(1))).toThrow('1 params, 0 grads');
      expect(() => adamwStep([a], [a], [zeros([2], 'bf16')], [a], at(1))).toThrow(
        'm and v must be f32',
      );
      expect(() => adamwStep([a], [a], [a], [a], at(0))).toThrow('step must be ≥ 1, got 0');
      expect(() => adamwStep([], [], [], [], at(1))).not.toThrow();
    });
  });
});
