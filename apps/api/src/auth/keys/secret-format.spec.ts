import { describe, expect, it } from 'vitest';
import { bearer, makeSecret, sameHash, secretId } from './secret-format.js';

describe('secrets', () => {
  it('carry their id and a checksum', () => {
    const { id, text } = makeSecret('sk-graft');
    expect(text).toMatch(/^sk-graft-[0-9A-Za-z]{12}-[0-9A-Za-z]{32}-[0-9a-f]{8}$/);
    expect(secretId('sk-graft', text)).toBe(id);
  });

  it('are rejected if truncated, mistyped, of another kind or malformed', () => {
    const { text } = makeSecret('sk-graft');
    const other = text[20] === 'x' ? 'y' : 'x';
    for (const bad of [
      text.slice(0, -1),
      text.slice(0, 20) + other + text.slice(21),
      text.toUpperCase(),
      ` ${text}`,
      '',
    ]) {
      expect(secretId('sk-graft', bad)).toBeNull();
    }
    expect(secretId('jt-graft', text)).toBeNull();
    expect(secretId('sk-graft', makeSecret('jt-graft').text)).toBeNull();
  });

  it('are unique', () => {
    expect(new Set(Array.from({ length: 500 }, () => makeSecret('jt-graft').text)).size).toBe(500);
  });
});

describe('bearer', () => {
  it('accepts the scheme in any case and no other scheme', () => {
    expect(bearer('Bearer abc')).toBe('abc');
    expect(bearer('bearer abc')).toBe('abc');
    for (const bad of [
      undefined,
      '',
      'abc',
      'Basic abc',
      'Bearer ',
      'Bearer a b',
      'Bearer a\nb',
      `Bearer ${'x'.repeat(301)}`,
    ]) {
      expect(bearer(bad)).toBeNull();
    }
  });
});

it('sameHash compares whole strings', () => {
  expect(sameHash('ab', 'ab')).toBe(true);
  expect(sameHash('ab', 'ac')).toBe(false);
  expect(sameHash('ab', 'abc')).toBe(false);
});
