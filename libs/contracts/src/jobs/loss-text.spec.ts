import { expect, it } from 'vitest';
import { lossText } from './loss-text.js';

it('formats losses with four significant digits', () => {
  expect([3, 2.5, 0.00126249, 10.8027, 123.456, 98765.4, 0, NaN, Infinity].map(lossText)).toEqual([
    '3.000',
    '2.500',
    '0.001262',
    '10.80',
    '123.5',
    '98765',
    '0.000',
    'NaN',
    'Infinity',
  ]);
});
