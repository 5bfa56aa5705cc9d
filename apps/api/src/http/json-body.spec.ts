import { expect, it } from 'vitest';
import { nestedDeeper } from './json-body.js';

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

it.each([
  ['64 arrays', nested(64), false],
  ['65 arrays', nested(65), true],
  ['objects and arrays', '{"a":['.repeat(33), true],
  ['many siblings', `[${'{},[],'.repeat(1000)}1]`, false],
  ['brackets in a string', JSON.stringify('['.repeat(1000)), false],
  ['a quote in a string', `["\\"", "${'['.repeat(100)}"]`, false],
  ['a backslash at the end of a string', `["\\\\", ${nested(64)}]`, true],
  ['an unterminated string', `["${'['.repeat(100)}`, false],
  ['multibyte characters', `["ä€😀", ${nested(64)}]`, true],
])('%s', (_, text, deeper) => expect(nestedDeeper(Buffer.from(text), 64)).toBe(deeper));
