import { expect, it } from 'vitest';
import { DomainError } from './errors.js';

it('has whole characters in its message, whatever it quotes', () => {
  expect(new DomainError('invalid_value', 'got "\ud83d"').message).toBe('got "\ufffd"');
  expect(new DomainError('invalid_value', 'got "😀"').message).toBe('got "😀"');
});
