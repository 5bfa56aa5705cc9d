import { expect, it } from 'vitest';
import { compare, expectClose, hasNaN, onEachSet, random, spoilt } from '../../test/own-kernel.js';
import * as k from '../index.js';

onEachSet((dtype) => {
  it.each([
    ['rows that fill no vector', [9, 41]],
    ['several tasks of rows, the last one short', [2, 70, 33]],
    ['one row', [16]],
  ])('scaleRows: %s', (_, shape) => {
    k.tidy(() => {
      const s = random([shape.at(-1) as number], 'f32');
      // s is f32 for any x, and so is its gradient
      const [x, g] = [random(shape, dtype), random(shape, dtype)];
      const [ownInput, exact] = [x, k.to(x, 'f64')].map((t) => leaf(t)) as [k.Tensor, k.Tensor];
      const [own, wide] = [s, k.to(s, 'f64')].map((t) => leaf(t)) as [k.Tensor, k.Tensor];
      const [got, expected] = [k.scaleRows(ownInput, own), k.mul(exact, wide)];
      expectClose(got, expected, dtype);
      k.backward([got], [g]);
      k.backward([expected], [k.to(g, 'f64')]);
      expectClose(ownInput.grad as k.Tensor, exact.grad as k.Tensor, dtype);
      expectClose(own.grad as k.Tensor, wide.grad as k.Tensor, 'f32');
    });
  });

  it('keeps NaN', () => {
    k.tidy(() => expect(hasNaN(k.scaleRows(spoilt([2, 8], dtype), random([8], 'f32')))).toBe(true));
  });
});

const leaf = (t: k.Tensor): k.Tensor => {
  const own = k.contiguous(t).detach();
  own.requiresGrad = true;
  return own;
};

it('uses the composition for other dtypes', () => {
  k.tidy(() => {
    const [x, s] = [random([9, 40], 'f64'), random([40], 'f64')];
    compare([k.to(x, 'f32'), k.to(s, 'f32')], 'f32', k.scaleRows, k.mul);
    expectClose(k.scaleRows(k.to(x, 'f32'), k.to(s, 'f32')), k.scaleRows(x, s), 'f32');
  });
});

it('names mismatched shapes', () => {
  k.tidy(
    () =>
    expect(() => k.scaleRows(random([4, 8], 'f32'), random([7], 'f32'))).toThrow('scale [7] for x [4, 8]'), // prettier-ignore
  );
});
