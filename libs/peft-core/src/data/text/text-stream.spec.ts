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

it('never gives out half a character', () => {
  const { parts } = stream('naïve 日本 👩‍🚀!');
  expect(parts.join('')).toBe('naïve 日本 👩‍🚀!');
  expect(parts.filter((part) => part.includes('\ufffd'))).toEqual([]);
});

it('gives out what is left of broken bytes at the end', () => {
  const out = new TextStream(decoder, []);
  expect(out.push(0x61) + out.push(0xf0) + out.end()).toBe('a\ufffd');
});

it('stops before a stop string and holds back its beginning', () => {
  const { parts, stopped } = stream('one\n\nQ: two', ['\n\nQ']);
  expect(parts.join('')).toBe('one');
  expect(stopped).toBe(true);
});

it('gives back what only looked like a stop string', () => {
  expect(stream('a ###b ##', ['####']).parts.join('')).toBe('a ###b ##');
});

it('takes the earliest of several stop strings', () => {
  expect(stream('abcdef', ['ef', 'cd', 'zz']).parts.join('')).toBe('ab');
});
