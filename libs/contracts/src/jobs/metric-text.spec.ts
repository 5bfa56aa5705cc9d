import { expect, it } from 'vitest';
import { metricText } from './metric-text.js';

it('formats fractions as percentages and other metrics with four digits', () => {
  expect(metricText({ unit: '%' }, 0.5213)).toBe('52.1 %');
  expect(metricText({ unit: null }, 0.00126)).toBe('0.001260');
  expect(metricText({ unit: '%' }, NaN)).toBe('NaN %');
});
