import { readFileSync } from 'node:fs';
import { DomainError } from '@graft/contracts';
import { RE2JS } from 're2js';
import { describe, expect, it, vi } from 'vitest';
import { layerReader, valueByEnd, valueByPart, wholeMatcher } from './pattern.js';

// Results of Python's `re`; pattern.golden.json describes how they were made.
const golden = JSON.parse(
  readFileSync(new URL('pattern.golden.json', import.meta.url), 'utf8'),
) as {
  readonly paths: readonly string[];
  readonly whole: Readonly<Record<string, readonly string[]>>;
  readonly end: Readonly<Record<string, readonly string[]>>;
  readonly part: Readonly<Record<string, readonly string[]>>;
  readonly layer: Readonly<Record<string, Readonly<Record<string, number>>>>;
};

describe("matches what Python's re matches", () => {
  it.each(Object.entries(golden.whole))('the whole path, %s', (pattern, matched) => {
    const matches = wholeMatcher(pattern, 'peft.target_modules');
    expect(golden.paths.filter(matches)).toEqual(matched);
  });

  it.each(Object.entries(golden.end))('the end of a path, %s', (pattern, matched) => {
    const value = valueByEnd({ [pattern]: 1 }, 'peft.rank_pattern');
    expect(golden.paths.filter((path) => value(path) === 1)).toEqual(matched);
  });

  it.each(Object.entries(golden.part))('a part of a path, %s', (pattern, matched) => {
    const value = valueByPart({ [pattern]: 1 }, 'peft.rank_pattern');
    expect(golden.paths.filter((path) => value(path) === 1)).toEqual(matched);
  });

  it.each(Object.entries(golden.layer))('the list of layers, %s', (pattern, numbers) => {
    const layer = layerReader([pattern], 'peft.layers_pattern');
    const found = golden.paths.map((path) => [path, layer(path)] as const);
    expect(Object.fromEntries(found.filter(([, number]) => number !== null))).toEqual(numbers);
  });
});

it('uses the first matching rule', () => {
  const value = valueByEnd({ '0\\.q_proj': 1, q_proj: 2, 'q.*': 3 }, 'peft.rank_pattern');
  expect(['h.0.q_proj', 'h.1.q_proj', 'q_b', 'v_proj'].map(value)).toEqual([1, 2, 3, undefined]);
  const layer = layerReader(['blocks', '(h|g)'], 'peft.layers_pattern');
  expect(['a.h.7.c', 'blocks.3.h.1.x', 'x.y.1.z'].map(layer)).toEqual([7, 3, null]);
});

it('compiles a list of patterns once, and caches the latest lists', () => {
  const compile = vi.spyOn(RE2JS, 'compile');
  const compiled = (ask: () => unknown): number => {
    compile.mockClear();
    ask();
    return compile.mock.calls.length;
  };
  const ranks = (n: number): string | undefined =>
    valueByEnd({ [`[kq]_${n}`]: 'a' }, 'peft.rank_pattern')(`h.k_${n}`);
  const first = compiled(() => ranks(0));
  expect(first).toBeGreaterThan(0);
  expect(compiled(() => ranks(0))).toBe(0);
  // same patterns with other values, in another field
  const alphas = valueByEnd({ '[kq]_0': 'b' }, 'peft.alpha_pattern');
  expect([alphas('h.k_0'), ranks(0)]).toEqual(['b', 'a']);
  // same patterns in another kind of match
  expect(compiled(() => layerReader(['[kq]_0'], 'peft.layers_pattern'))).toBe(first);
  for (let n = 1; n < 100; n++) ranks(n);
  expect([compiled(() => ranks(99)), compiled(() => ranks(0))]).toEqual([0, first]);
  compile.mockRestore();
});

it('does not compile plain names: a rank for each linear layer of a large model', () => {
  const compile = vi.spyOn(RE2JS, 'compile');
  const names = Array.from({ length: 560 }, (_, n) => `model.layers.${n}.self_attn.q_proj`);
  const rank = valueByEnd(
    Object.fromEntries(names.map((name, n) => [name, n])),
    'peft.rank_pattern',
  );
  expect(names.map(rank)).toEqual(names.map((_, n) => n));
  // in Python's patterns a dot matches any character, and a name matches a whole part of a path
  const dotted = valueByEnd({ 'layers.1.q.proj': 1 }, 'peft.rank_pattern');
  const paths = ['layers.1.q.proj', 'a.layers_1.q_proj', 'sublayers.1.q.proj', 'layers.1.q.proj.b'];
  expect(paths.map(dotted)).toEqual([1, 1, undefined, undefined]);
  expect(compile).not.toHaveBeenCalled();
  compile.mockRestore();
});

// Backtracking would take 2 ** 60 steps or more for each of these. The limit is far above the slowest one, which takes
// 0.1 s alone.
describe('does not take exponential time', () => {
  const paths = Array.from({ length: 30 }, (_, n) => `model.layers.${n}.${'aa.b_'.repeat(12)}`);
  it.each([
    ['options in a row', `${'.?'.repeat(250)}Z`],
    ['a repeated repetition', '(.+)+Z'],
    ['repetitions within repetitions', `${'('.repeat(20)}.${'*)'.repeat(20)}*Z`],
    ['alternatives that overlap', '(.|..|...)*Z'],
    ['repetitions in a row', `${'.*'.repeat(200)}Z`],
    ['an optional group, counted', '(.?.?){120}Z'],
    ['empty repetitions', `${'(a*)*'.repeat(60)}Z`],
    ['nested counted repetitions', '((.{1,20}){1,20}){2}Z'],
  ])('%s', (_, pattern) => {
    const began = performance.now();
    expect(paths.filter(wholeMatcher(pattern, 'peft.target_modules'))).toEqual([]);
    const rank = valueByEnd({ [pattern]: 1 }, 'peft.rank_pattern');
    expect(paths.filter((path) => rank(path) !== undefined)).toEqual([]);
    const layer = layerReader([pattern], 'peft.layers_pattern');
    expect(paths.filter((path) => layer(path) !== null)).toEqual([]);
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});

describe('rejects', () => {
  it.each([
    ['(?=.*q)', 'has a look-ahead, which is not supported in peft.x; list the modules'],
    ['.*(?!norm)', 'has a look-ahead'],
    ['(?<=h)q', 'has a look-behind'],
    ['(?<!h)q', 'has a look-behind'],
    ['(a)\\1', 'has a back-reference'],
    ['(?P<n>a)(?P=n)', 'has a back-reference'],
    ['(a)?(?(1)b|c)', 'has a condition'],
    ['(?<n>a)', 'has a group named without the P of (?P<name>…)'],
    ['[[:alpha:]]', 'has a POSIX class'],
    ['\\pL', 'has the escape \\p'],
    ['\\Qa', 'has the escape \\Q'],
    ['(', 'is not a regular expression: missing closing )'],
    ['a)(?:b', 'is not a regular expression: unexpected )'],
    ['a**', 'is not a regular expression: invalid nested repetition operator'],
    ['(a{100}){100}', 'is not a regular expression: invalid repeat count'],
    ['.{999}'.repeat(6), 'makes the patterns too large'],
    ['a'.repeat(513), 'is longer than 512 characters'],
  ])('%s', (pattern, message) => {
    const forms = [
      () => wholeMatcher(pattern, 'peft.x'),
      () => valueByEnd({ [pattern]: 1 }, 'peft.x'),
      () => layerReader([pattern], 'peft.x'),
    ];
    for (const form of forms) {
      expect(form).toThrow(DomainError);
      expect(form).toThrow(message);
    }
  });

  it('patterns that are too large together, but not a rank for each linear layer of a large model', () => {
    const ranks = (count: number, pattern: (n: number) => string): Record<string, number> =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [pattern(n), 8]));
    const param = 'peft.rank_pattern';
    expect(() =>
      valueByEnd(
        ranks(100, (n) => `.{999}${n}`),
        param,
      ),
    ).toThrow('too large');
    expect(() => layerReader(Object.keys(ranks(6, (n) => `.{999}${n}`)), param)).toThrow(
      'too large',
    );
    const each = valueByEnd(
      ranks(560, (n) => `model.layers.${n}.self_attn.q_proj`),
      param,
    );
    expect(each('model.layers.559.self_attn.q_proj')).toBe(8);
  });

  it('half a million steps before they are compiled', () => {
    const compile = vi.spyOn(RE2JS, 'compile');
    for (const pattern of [`(${'.a'.repeat(250)}){999}`, `((${'[a-z]'.repeat(50)}){20}x){2,50}`])
      expect(() => wholeMatcher(pattern, 'peft.x')).toThrow('makes the patterns too large');
    expect(compile).not.toHaveBeenCalled();
    compile.mockRestore();
  });

  it('invalid patterns', () => {
    expect(wholeMatcher('[(?=a]+', 'peft.x')('?=(a')).toBe(true);
    expect(wholeMatcher('\\(\\?=\\\\1', 'peft.x')('(?=\\1')).toBe(true);
  });
});
