import { expect, it } from 'vitest';
import { compare, expectClose, hasNaN, onEachBody, random, spoilt } from '../../test/own-kernel.js';
import * as k from '../index.js';

onEachBody((dtype) => {
  it('siluMul', () => {
    k.tidy(() => {
      const inputs = [random([9, 41], dtype), random([9, 41], dtype)];
      compare(inputs, dtype, k.siluMul, (gate, up) => k.mul(k.silu(gate), up));
    });
  });

  it('keeps NaN', () => {
    k.tidy(() =>
      expect(hasNaN(k.siluMul(spoilt([2, 8], dtype), random([2, 8], dtype)))).toBe(true),
    );
  });
});

it('uses the composition for other dtypes, with the same results', () => {
  k.tidy(() => {
    const [gate, up] = [random([9, 40], 'f32'), random([9, 40], 'f32')];
    expectClose(k.siluMul(gate, up), k.siluMul(k.to(gate, 'f64'), k.to(up, 'f64')), 'f32');
  });
});

it('names mismatched shapes', () => {
  k.tidy(() => {
    const gate = random([4, 2, 8], 'f32');
    expect(() => k.siluMul(gate, random([4, 8], 'f32'))).toThrow('gate [4, 2, 8], up [4, 8]');
  });
});
