import { expect, it } from 'vitest';
import { TextStream } from './text-stream.js';

/** Ids are bytes, as in a byte-level tokenizer. */
const decoder = { decode: (ids: readonly number[]) => Buffer.from(ids).toString('utf8') };

function stream(text: string, stops: readonly string[] = []) {
  const out = new TextStream(decoder, stops);
  const parts: string[] = [];
  for (const byte of Buffer.from(text)) {
    parts.push(out.push(byte));
    if (out.stopped) break;
  }
  return { parts: [...parts, out.end()], stopped: out.stopped };
}

it('never returns part of a character', () => {
  const { parts } = stream('naïve 日本 👩‍🚀!');
  expect(parts.join('')).toBe('naïve 日本 👩‍🚀!');
  expect(parts.filter((part) => part.includes('\ufffd'))).toEqual([]);
});

it('returns the rest of invalid bytes at the end', () => {
  const out = new TextStream(decoder, []);
  expect(out.push(0x61) + out.push(0xf0) + out.end()).toBe('a\ufffd');
});

it('stops before a stop string and does not return its beginning', () => {
  const { parts, stopped } = stream('one\n\nQ: two', ['\n\nQ']);
  expect(parts.join('')).toBe('one');
  expect(stopped).toBe(true);
});

it('returns text that only began like a stop string', () => {
  expect(stream('a ###b ##', ['####']).parts.join('')).toBe('a ###b ##');
});

it('stops at the first of several stop strings', () => {
  expect(stream('abcdef', ['ef', 'cd', 'zz']).parts.join('')).toBe('ab');
});
