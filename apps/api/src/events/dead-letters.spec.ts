import { DomainError } from '@graft/contracts';
import { expect, it } from 'vitest';
import { isDataError } from './dead-letters.js';

const withCode = (code: string): Error => Object.assign(new Error('as it came'), { code });

it.each([
  ['a value that cannot be stored', withCode('22P05'), true],
  ['a constraint', withCode('23505'), true],
  ['a limit of the server', withCode('54000'), true],
  ['a rejected request', new DomainError('invalid_value', 'as it came'), true],
  ['a wrong shape', new TypeError('files.map is not a function'), true],
  ['a wrong length', new RangeError('Invalid array length'), true],
  ['a statement that PostgreSQL does not understand', withCode('42703'), false],
  ['internal_error', new DomainError('internal_error', 'as it came'), false],
  ['a name that is not defined', new ReferenceError('files is not defined'), false],
  ['a limit of the project', new DomainError('rate_limit_exceeded', 'as it came'), false],
  ['a network that fails', new TypeError('fetch failed', { cause: withCode('EPIPE') }), false],
  ['a database that is away', withCode('57P01'), false],
  ['an unknown error', new Error('as it came'), false],
])('%s: becomes a dead letter or is retried', (_, error, isDead) => {
  expect(isDataError(error)).toBe(isDead);
});
