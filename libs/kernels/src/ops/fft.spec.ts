import { expect, it } from 'vitest';
import { numbers } from '../../test/near.js';
import * as k from '../index.js';

const x = [1, -2, 0.5, 3, 4, -1];

/** Reference by the definition. */
const transform = (values: readonly number[]): [number, number][] =>
  values.map((_, f) =>
    values.reduce<[number, number]>(
      ([re, im], value, p) => {
        const angle = (-2 * Math.PI * f * p) / values.length;
        return [re + value * Math.cos(angle), im + value * Math.sin(angle)];
      },
      [0, 0],
    ),
  );

const near = (ours: readonly number[], expected: readonly number[]): void => {
  expect(ours.length).toBe(expected.length);
  ours.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 5));
};

it('rfft is the first half of the transform, as pairs of numbers', () => {
  k.tidy(() => {
    const spectrum = k.rfft(k.tensor(x, [6]));
    expect(spectrum).toMatchObject({ dtype: 'c64', shape: [4] });
    near([...(spectrum.toArray() as Float32Array)], transform(x).slice(0, 4).flat());
  });
});

it('rfft pads missing numbers with zeros', () => {
  k.tidy(() => {
    const spectrum = k.rfft(k.tensor(x, [6]), -1, 8);
    near(
      [...(spectrum.toArray() as Float32Array)],
      transform([...x, 0, 0])
        .slice(0, 5)
        .flat(),
    );
  });
});

it.each([5, 6])('irfft restores %i numbers', (n) => {
  k.tidy(() => near(numbers(k.irfft(k.rfft(k.tensor(x.slice(0, n), [n])), n)), x.slice(0, n)));
});

it('the product with a conjugate is a correlation, and so is its gradient', () => {
  k.tidy(() => {
    const [a, b] = [k.tensor(x, [6]), k.tensor([0, 1, 0, 0, 0, 0], [6])];
    b.requiresGrad = true;
    const y = k.irfft(k.mul(k.rfft(a), k.conj(k.rfft(b))), 6);
    near(numbers(y), [-2, 0.5, 3, 4, -1, 1]);
    k.backward([k.select(y, 0, 0)], [null]);
    near(numbers(b.grad as k.Tensor), x);
  });
});

it('ifft2 of one frequency is a wave over the whole matrix', () => {
  k.tidy(() => {
    const one = k.tensor([0, 0, 0, 0, 0, 1], [2, 3]);
    const wave = [0, 1].flatMap((p) =>
      [0, 1, 2].map((q) => Math.cos(2 * Math.PI * (p / 2 + (2 * q) / 3)) / 6),
    );
    near(numbers(k.real(k.ifft2(one))), wave);
  });
});
