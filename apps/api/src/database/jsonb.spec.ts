import { describe, expect, it } from 'vitest';
import { jsonbText } from './jsonb.js';

describe('jsonbText', () => {
  it('returns the JSON of the value', () => {
    const value = { a: [1, 'x', null, true, { b: '\\' }], at: new Date(0) };
    expect(jsonbText(value)).toBe(JSON.stringify(value));
  });

  it('removes NUL from values and names and returns valid JSON', () => {
    const value = { 'a\0': ['b\0c', { '\0': 1 }] };
    expect(JSON.parse(jsonbText(value))).toEqual({ a: ['bc', { '': 1 }] });
  });

  it('keeps a backslash before u0000', () => {
    const value = { 'a\\u0000': 'b\\u0000', c: '\\\0' };
    expect(JSON.parse(jsonbText(value))).toEqual({ ...value, c: '\\' });
  });

  it('replaces half a surrogate pair', () => {
    expect(JSON.parse(jsonbText({ '\ud800': 'x\udc00', whole: '\ud83d\ude00' }))).toEqual({
      '\ufffd': 'x\ufffd',
      whole: '\ud83d\ude00',
    });
  });
});
