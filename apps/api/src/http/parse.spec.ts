import { DomainError } from '@graft/contracts';
import { expect, it } from 'vitest';
import { pageQuery } from './parse.js';

it('accepts limits within the bounds, and uses the default if there is none', () => {
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
])('rejects the limit %j and names the field', (raw) => {
  const refused = (): unknown => pageQuery({ limit: raw }, 20, 100);
  expect(refused).toThrow(DomainError);
  expect(refused).toThrow(/^limit: expected an integer from 1 to 100, got /);
});

it('truncates the given value in the error', () =>
  expect(() => pageQuery({ limit: ['9'.repeat(5000)] }, 20, 100)).toThrow(
    /^limit: expected an integer from 1 to 100, got \["9{38}$/,
  ));

it('shows the given value in the error', () =>
  expect(() => pageQuery({ limit: '300' }, 20, 100)).toThrow(
    'limit: expected an integer from 1 to 100, got 300',
  ));
