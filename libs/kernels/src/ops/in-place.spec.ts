import { expect, it } from 'vitest';
import { expectNear, numbers } from '../../test/near.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const other = k.tensor([2, 4], [2]);

it.each<[string, (t: Tensor) => Tensor, number[]]>([
  ['add_', (t) => k.add_(t, other, 2), [5, 6]],
  ['add_ number', (t) => k.add_(t, 1), [2, -1]],
  ['mul_', (t) => k.mul_(t, other), [2, -8]],
  ['mul_ number', (t) => k.mul_(t, 0.5), [0.5, -1]],
  ['copy_', (t) => k.copy_(t, k.to(other, 'i64')), [2, 4]],
  ['addcmul_', (t) => k.addcmul_(t, other, other, 0.5), [3, 6]],
  ['fill_', (t) => k.fill_(t, NaN), [NaN, NaN]],
])('%s changes its argument and returns it', (_name, change, expected) => {
  k.tidy(() => {
    const t = k.tensor([1, -2], [2]);
    const handles = k.memory().tensors;
    const result = k.tidy(() => change(t));
    expect(result).toBe(t);
    expect(numbers(t)).toEqual(expected);
    expect(k.memory().tensors).toBe(handles);
  });
});

it('addmm_', () => {
  k.tidy(() => {
    const t = k.ones([1, 1]);
    expectNear(
      k.addmm_(t, k.tensor([1, 2], [1, 2]), k.tensor([3, 4], [2, 1]), { beta: 2, alpha: 10 }),
      [112],
    );
  });
});

it('rejects changes to a parameter that autograd records, outside noGrad', () => {
  k.tidy(() => {
    const t = k.zeros([1]);
    t.requiresGrad = true;
    expect(() => k.add_(t, 1)).toThrow('a leaf Variable that requires grad');
    k.noGrad(() => k.add_(t, 1));
    expect(t.item()).toBe(1);
  });
});
