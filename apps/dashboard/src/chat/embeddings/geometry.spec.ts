import { expect, it } from 'vitest';
import { cosine, neighbours, project } from './geometry.js';

it('computes cosine similarities of vectors of any length', () => {
  expect(cosine([2, 0], [3, 0])).toBeCloseTo(1);
  expect(cosine([1, 0], [0.6, 0.8])).toBeCloseTo(0.6);
  expect(cosine([0, 0], [1, 0])).toBe(0);
});

it('sorts the other vectors by similarity', () => {
  const found = neighbours(
    [
      [1, 0],
      [-1, 0],
      [0.6, 0.8],
    ],
    0,
  );
  expect(found.map(({ index }) => index)).toEqual([2, 1]);
});

it('keeps the distances of vectors that lie in a plane', () => {
  const vectors = [
    [1, 2, 0, 5],
    [4, 6, 0, 5],
    [1, 7, 0, 5],
    [-3, 0, 0, 5],
  ];
  const points = project(vectors);
  const distance = (a: readonly number[], b: readonly number[]) =>
    Math.hypot(...a.map((value, i) => value - (b[i] ?? 0)));
  for (const [i, a] of vectors.entries())
    for (const [j, b] of vectors.entries())
      expect(distance(points[i]!, points[j]!)).toBeCloseTo(distance(a, b), 5);
  // The first axis has the larger variance.
  const spread = (axis: 0 | 1) => points.reduce((sum, point) => sum + point[axis] ** 2, 0);
  expect(spread(0)).toBeGreaterThan(spread(1));
});

it('places equal vectors and a single one at the origin', () => {
  expect(project([[1, 2]])).toEqual([[0, 0]]);
  expect(
    project([
      [1, 2],
      [1, 2],
    ]),
  ).toEqual([
    [0, 0],
    [0, 0],
  ]);
});
