import { keep, tensor } from '@graft/kernels';
import { expect, it } from 'vitest';
import { sample } from './sample.js';

const probabilities = [0.5, 0.3, 0.15, 0.05];
const logits = keep(tensor(probabilities.map(Math.log), [1, 4]));
const draws = (settings: Parameters<typeof sample>[1], n: number): number[] => {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < n; i++) (counts[sample(logits, settings, i)] as number)++;
  return counts.map((count) => count / n);
};

it('returns the likeliest token at temperature 0', () => {
  expect(sample(keep(tensor([1, 3, 2], [3])), { temperature: 0, top_p: 1, seed: 1 }, 0)).toBe(1);
});

it('draws each token with its probability', () => {
  draws({ temperature: 1, top_p: 1, seed: 7 }, 4000).forEach((share, i) =>
    expect(Math.abs(share - (probabilities[i] as number))).toBeLessThan(0.03),
  );
});

it('excludes tokens beyond top_p and keeps the proportions of the others', () => {
  const [a, b, c, d] = draws({ temperature: 1, top_p: 0.75, seed: 7 }, 4000) as [
    number,
    number,
    number,
    number,
  ];
  expect(a).toBeCloseTo(0.625, 1);
  expect(b).toBeCloseTo(0.375, 1);
  expect([c, d]).toEqual([0, 0]);
});

it('is a function of the seed and the position', () => {
  const text = (seed: number) =>
    Array.from({ length: 50 }, (_, i) =>
      sample(logits, { temperature: 1, top_p: 0.9, seed }, i),
    ).join('');
  expect(text(3)).toBe(text(3));
  expect(text(3)).not.toBe(text(4));
});

it('is sharper at a low temperature', () => {
  const [a] = draws({ temperature: 0.25, top_p: 1, seed: 5 }, 1000) as [number];
  expect(a).toBeGreaterThan(0.84);
});
