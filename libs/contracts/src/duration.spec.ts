import { expect, it } from 'vitest';
import { duration } from './duration.js';

it('has at most two units, and omits zero ones', () => {
  expect([0, 59.7, 95, 3600, 3700, 90_000, -1].map(duration)).toEqual([
    '0 s',
    '1 min',
    '1 min 35 s',
    '1 h',
    '1 h 1 min',
    '1 d 1 h',
    '0 s',
  ]);
});
