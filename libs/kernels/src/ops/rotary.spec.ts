import { it } from 'vitest';
import { compare, expectClose, onEachBody, random } from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

/** cos and sin with the kernel's sign convention: the first half of sin is negated. */
function tables(rows: number, size: number, dtype: 'f32' | 'bf16'): [Tensor, Tensor] {
  const [c, half] = [random([rows, 1, size / 2], dtype), random([rows, 1, size / 2], dtype)];
  return [k.cat([c, c], 2), k.cat([k.neg(half), half], 2)];
}

onEachBody((dtype) => {
  it('rotary, on a part of a wider tensor too', () => {
    k.tidy(() => {
      const [cos, sin] = tables(70, 20, dtype);
      const composed = (x: Tensor): Tensor => {
        const [first, second] = k.split(x, [10, 10], 2) as [Tensor, Tensor];
        const wide = (t: Tensor): Tensor => k.to(t, x.dtype);
        return k.add(k.mul(x, wide(cos)), k.mul(k.cat([second, first], 2), wide(sin)));
      };
      compare([random([70, 3, 20], dtype)], dtype, (x) => k.rotary(x, cos, sin), composed);
      const part = (x: Tensor): Tensor => k.view(k.narrow(x, 1, 8, 40), [70, 2, 20]);
      compare(
        [random([70, 60], dtype)],
        dtype,
        (x) => k.rotary(part(x), cos, sin),
        (x) => composed(part(x)),
      );
    });
  });
});

it('uses the composition for other dtypes, with the same results', () => {
  k.tidy(() => {
    const x = random([9, 2, 20], 'f32');
    const [cos, sin] = tables(9, 20, 'f32');
    const [own, composed] = [
      k.rotary(x, cos, sin),
      k.rotary(k.to(x, 'f64'), k.to(cos, 'f64'), k.to(sin, 'f64')),
    ];
    expectClose(own, composed, 'f32');
  });
});
