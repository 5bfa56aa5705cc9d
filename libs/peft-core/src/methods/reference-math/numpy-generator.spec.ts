import { expect, it } from 'vitest';
import { NumpyGenerator } from './numpy-generator.js';

const upTo = (size: number): Int32Array => Int32Array.from({ length: size }, (_, i) => i);

// np.random.default_rng(seed).shuffle(np.arange(size))
it.each([
  [42, [0, 7, 6, 9, 11, 3, 5, 2, 4, 10, 1, 8]],
  [0, [9, 2, 7, 4, 5, 11, 0, 3, 6, 10, 8, 1]],
  [2 ** 40 + 3, [2, 4, 10, 9, 6, 5, 3, 7, 11, 0, 8, 1]],
])('shuffles like NumPy with seed %i', (seed, expected) => {
  const values = upTo(12);
  new NumpyGenerator(seed).shuffle(values);
  expect([...values]).toEqual(expected);
});

it('shuffles long lists, too', () => {
  const values = upTo(200_000);
  new NumpyGenerator(42).shuffle(values);
  expect([...values.subarray(0, 5)]).toEqual([107594, 52030, 169285, 125205, 166205]);
});

// np.random.default_rng(42).choice(population, size=size, replace=False)
it.each([
  [20, 7, [19, 16, 7, 10, 1, 11, 17]],
  [12000, 5, [9285, 5266, 7853, 1070, 5196]],
  [12000, 11990, [4927, 1946, 10508, 8447, 1938, 10226, 2828]],
])('chooses among %i, %i of them', (population, size, first) => {
  const chosen = new NumpyGenerator(42).choice(population, size);
  expect([...chosen.subarray(0, 7)]).toEqual(first);
  expect(new Set(chosen).size).toBe(size);
});
