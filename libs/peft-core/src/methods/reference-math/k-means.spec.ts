import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { kMeans, type KMeansOptions } from './k-means.js';

interface Case extends KMeansOptions {
  readonly count: number;
  readonly width: number;
  readonly salt: number;
  /** Labels: one base-36 digit per point. */
  readonly labels: string;
}

// Expected values of scikit-learn; the file describes how they were computed.
const { cases } = JSON.parse(
  readFileSync(new URL('k-means.golden.json', import.meta.url), 'utf8'),
) as { readonly cases: readonly Case[] };

it.each(cases)(
  '$count points in $clusters clusters, $rounds rounds from seed $seed',
  ({ count, width, salt, labels, ...options }) => {
    const points = Float32Array.from({ length: count * width }, (_, i) =>
      Math.sin(i * 12.9898 + salt),
    );
    const found = kMeans(points, count, options);
    expect(Array.from(found, (label) => label.toString(36)).join('')).toBe(labels);
  },
);

// the initial centers are points 3 4 2, 2 4 0, 2 0 3, 3 4 1, 5 3 2 and 1 5 4; the first four are equal
it.each(
  ['000012', '000012', '000021', '000012', '111120', '000021'].map(
    (labels, seed) => [seed, labels] as const,
  ),
)(
  'clusters without points get those that are farthest from their centers: seed %i, %s',
  (seed, labels) => {
    const found = kMeans([0, 0, 0, 0, 1, 9], 6, { clusters: 3, rounds: 10, seed });
    expect(found.join('')).toBe(labels);
  },
);
