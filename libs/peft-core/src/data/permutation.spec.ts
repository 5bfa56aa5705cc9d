import { describe, expect, it } from 'vitest';
import { permutation } from './permutation.js';
import { packBatch } from '../tasks/batches/pack.js';

describe('permutation', () => {
  it('is the identity without shuffling', () => {
    expect([...permutation(3, 5, 4, false)]).toEqual([0, 1, 2, 3]);
  });

  it('visits every example once, and is a function of seed, epoch and number', () => {
    for (const n of [0, 1, 2, 1000]) {
      const visited = permutation(7, 1, n, true);
      expect([...visited].sort((a, b) => a - b)).toEqual([...Array(n).keys()]);
      expect(permutation(7, 1, n, true)).toEqual(visited);
    }
    // The order must not change between builds: a resumed run relies on the order of the build that started it.
    expect([...permutation(42, 0, 10, true)]).toEqual([3, 7, 9, 2, 5, 8, 6, 4, 1, 0]);
  });

  it('differs from epoch to epoch and from seed to seed', () => {
    const orders = [0, 1, 2].flatMap((seed) =>
      [0, 1, 2].map((epoch) => permutation(seed, epoch, 50, true).join()),
    );
    expect(new Set(orders).size).toBe(9);
  });

  it('is uniform: each example is at each position about equally often', () => {
    const n = 8;
    const epochs = 8_000;
    const counts = Array.from({ length: n * n }, () => 0);
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (const [place, index] of permutation(1, epoch, n, true).entries())
        counts[place * n + index]!++;
    }
    const expected = epochs / n;
    const chi2 = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // With 49 degrees of freedom, chi-squared exceeds 94 once in 10,000 runs.
    expect(chi2).toBeLessThan(94);
  });
});

describe('packBatch', () => {
  it('concatenates examples by run, with positions from 0', () => {
    const example = (
      ...ids: number[]
    ): { tokens: Int32Array; labels: Int32Array; first: number } => ({
      tokens: Int32Array.from(ids),
      labels: Int32Array.from([...ids.slice(1), -100]),
      first: ids[0] === 9 ? 9 : -100,
    });
    const { batch, labels, firstLabels } = packBatch([
      { run: 4, examples: [example(1, 2, 3), example(9)] },
      { run: 2, examples: [] },
      { run: 1, examples: [example(5, 6)] },
    ]);
    expect([...(batch.decoder.inputs as Int32Array)]).toEqual([1, 2, 3, 9, 5, 6]);
    expect([...batch.decoder.positions]).toEqual([0, 1, 2, 0, 0, 1]);
    expect([...labels]).toEqual([2, 3, -100, -100, 6, -100]);
    expect([...firstLabels]).toEqual([-100, 9, -100]);
    expect(batch.decoder.sequences).toEqual([
      { run: 4, start: 0, length: 3 },
      { run: 4, start: 3, length: 1 },
      { run: 1, start: 4, length: 2 },
    ]);
    expect(packBatch([])).toEqual({
      batch: {
        encoder: null,
        decoder: { inputs: new Int32Array(), positions: new Int32Array(), sequences: [] },
      },
      labels: new Int32Array(),
      firstLabels: new Int32Array(),
    });
  });
});
