import { expect, it } from 'vitest';
import { compare, expectClose, hasNaN, onEachBody, random, spoilt } from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

onEachBody((dtype) => {
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

  it('keeps NaN', () => {
    k.tidy(() => expect(hasNaN(k.rmsNorm(spoilt([2, 8], dtype), null))).toBe(true));
  });
});

it('uses the composition for other dtypes, with the same results', () => {
  k.tidy(() => {
    const [x, weight] = [random([9, 40], 'f32'), random([40], 'f32')];
    const composed = k.rmsNorm(k.to(x, 'f64'), k.to(weight, 'f64'), 1e-5);
    expectClose(k.rmsNorm(x, weight, 1e-5), composed, 'f32');
  });
});

it('names mismatched shapes', () => {
  k.tidy(() => {
    const x = random([4, 2, 8], 'f32');
    expect(() => k.rmsNorm(x, random([7], 'f32'))).toThrow('weight [7] for x [4, 2, 8]');
  });
});
