import { expect, it } from 'vitest';
import { chooseTier } from './tier.mjs';

it('returns the last tier and the other arguments', () => {
  expect(chooseTier(['libs/kernels', '-t', 'x'])).toEqual({
    tier: null,
    args: ['libs/kernels', '-t', 'x'],
  });
  expect(chooseTier(['--quick', 'libs'])).toEqual({ tier: 'quick', args: ['libs'] });
  expect(chooseTier(['--quick', 'libs', '--all'])).toEqual({ tier: 'all', args: ['libs'] });
});
