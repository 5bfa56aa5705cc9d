import { DomainError } from '@graft/contracts';
import { expect, it } from 'vitest';
import { pageQuery } from './parse.js';

it('takes limits within its bounds, and its own where there is none', () => {
  for (const [raw, limit] of [
    ['1', 1],
    ['100', 100],
    ['', 20],
    [undefined, 20],
  ] as const)
    expect(pageQuery({ limit: raw }, 20, 100)).toEqual({ limit, after: null });
});

it.each([
  ['300'],
  ['101'],
  ['0'],
  ['-1'],
  ['1.5'],
  ['all'],
  [['1', '2']],
  [{ a: '1' }],
  [{ toString: '1' }],
])('refuses the limit %j by name', (raw) => {
  const refused = (): unknown => pageQuery({ limit: raw }, 20, 100);
  expect(refused).toThrow(DomainError);
  expect(refused).toThrow(/^limit: expected an integer from 1 to 100, got /);
});

it('shows the beginning of what was given', () =>
  expect(() => pageQuery({ limit: ['9'.repeat(5000)] }, 20, 100)).toThrow(
    /^limit: expected an integer from 1 to 100, got \["9{38}$/,
  ));

it('says what was given as it was given', () =>
  expect(() => pageQuery({ limit: '300' }, 20, 100)).toThrow(
    'limit: expected an integer from 1 to 100, got 300',
  ));
