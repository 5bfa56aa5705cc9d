import { expect, it } from 'vitest';
import { begins, shortId } from './short-id.js';

it('shortens ids of every kind to letters that identify them', () => {
  expect(shortId('ftjob-g2njNIrqVXcP4ELLUjqSjE')).toBe('g2njNIrq');
  expect(shortId('evalrun_A1b2C3d4E5f6')).toBe('A1b2C3d4');
  for (const start of ['ftjob-g2n', 'g2njNIrq', 'ftjob-g2njNIrqVXcP4ELLUjqSjE'])
    expect(begins('ftjob-g2njNIrqVXcP4ELLUjqSjE', start), start).toBe(true);
  for (const start of ['', 'njNIrq', 'x'])
    expect(begins('ftjob-g2njNIrqVXcP4ELLUjqSjE', start), start).toBe(false);
});
