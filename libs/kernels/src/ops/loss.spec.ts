import { expect, it } from 'vitest';
import {
  expectClose,
  hasNaN,
  onEachBody,
  parameter,
  random,
  spoilt,
} from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { Tensor } from '../index.js';

const labelsOf = (...labels: number[]): Tensor =>
  k.tensor(BigInt64Array.from(labels, BigInt), [labels.length]);

onEachBody((dtype) => {
  it.each([1000, 33, 3])('crossEntropy_ over %i classes', (classes) => {
    k.tidy(() => {
      const n = 19;
      const logits = k.mul(random([n, classes], dtype), 4);
      const labels = Array.from({ length: n }, (_, i) => (i * 7) % classes);
      const y = labelsOf(...labels);
      const s = Array.from({ length: n }, (_, i) => 0.1 * (i + 1));
      const scales = k.tensor(s, [n]);
      const wide = parameter(k.to(logits, 'f64'));
      const expected = k.crossEntropy(wide, y, { reduction: 'none' });
      k.backward([expected], [k.to(scales, 'f64')]);
      const likeliest = k.argmax(wide.detach(), 1).toArray() as BigInt64Array;
      const before = k.mul(logits, 1); // adding 0 would turn -0 into 0
      const kept = k.crossEntropy_(logits, y, null);
      expect(logits.toArray()).toEqual(before.toArray());
      const { losses, right } = k.crossEntropy_(logits, y, scales);
      expect(losses.toArray()).toEqual(kept.losses.toArray());
      expectClose(losses, expected.detach(), 'f32');
      expectClose(logits, wide.grad as Tensor, dtype);
      if (dtype === 'f32')
        expect([...right.toArray()].map(Number)).toEqual(
          labels.map((label, i) => Number(BigInt(label) === likeliest[i])),
        );
    });
  });

  it('keeps NaN', () => {
    k.tidy(() => {
      const { losses } = k.crossEntropy_(spoilt([2, 40], dtype), labelsOf(0, 1), null);
      expect(hasNaN(losses)).toBe(true);
    });
  });
});

it('uses the composition for other dtypes, with the same results', () => {
  k.tidy(() => {
    const x = random([9, 40], 'f32');
    const labels = labelsOf(0, 1, 2, 3, 4, 5, 6, 7, 8);
    const scales = k.full([9], 0.5);
    const [own, composed] = [k.add(x, 0), k.to(x, 'f64')];
    const [a, b] = [
      k.crossEntropy_(own, labels, scales),
      k.crossEntropy_(composed, labels, scales),
    ];
    expectClose(a.losses, k.to(b.losses, 'f64'), 'f32');
    expect(a.right.toArray()).toEqual(b.right.toArray());
    expectClose(own, composed, 'f32');
  });
});

it('names a label outside the classes', () => {
  k.tidy(() =>
    expect(() => k.crossEntropy_(random([1, 8], 'f32'), labelsOf(8), null)).toThrow(
      'label 8 of row 0 is not one of 8',
    ),
  );
});
