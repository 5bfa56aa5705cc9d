import { expect, it } from 'vitest';
import { DomainError } from './errors.js';

it('replaces unpaired surrogates in its message', () => {
  expect(new DomainError('invalid_value', 'got "\ud83d"').message).toBe('got "\ufffd"');
  expect(new DomainError('invalid_value', 'got "😀"').message).toBe('got "😀"');
});
