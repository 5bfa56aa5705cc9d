import { expect, it } from 'vitest';
import { sparkline } from './sparkline.js';

it('draws the lowest value lowest and the highest value highest', () => {
  expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20)).toBe('▁▂▃▄▅▆▇█');
  expect(sparkline([5, 3, 1], 20)).toBe('█▅▁');
});

it('averages values that share a character, and uses all of them', () => {
  expect(sparkline([4, 4, 0, 4, 0, 0], 3)).toBe('█▅▁');
  expect(sparkline([9, 9, 9, 0, 0, 0, 0], 2)).toBe('█▁');
  const many = Array.from({ length: 1001 }, (_, n) => n);
  expect(sparkline(many, 8)).toBe('▁▂▃▄▅▆▇█');
});

it('draws a constant curve flat', () => expect(sparkline([2, 2, 2], 8)).toBe('▁▁▁'));

it('skips gaps, NaN and infinite values', () => {
  expect(sparkline([null, 1, Number.NaN, Infinity, 0], 8)).toBe('█▁');
});

it.each([[[]], [[1]], [[null, 1, Number.NaN]]])('is empty for %j', (values) =>
  expect(sparkline(values, 8)).toBe(''),
);
