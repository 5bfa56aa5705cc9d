import { expect, it } from 'vitest';
import { parseFormula } from './formula.js';

const value = (text: string, values: Readonly<Record<string, number>> = {}): number =>
  parseFormula(text, 'calculate_output').value(values);

it.each([
  ['1 + 2 * 3', 7],
  ['(1 + 2) * 3', 9],
  ['8 - 2 - 1', 5],
  ['8 / 2 / 2', 2],
  ['2 ^ 3 ^ 2', 512],
  ['-2 ^ 2', -4],
  ['2 ^ -1', 0.5],
  ['--1', 1],
  ['.5 + 1.5e1', 15.5],
  ['min(3, 1, 2) + max(1, 2)', 3],
  ['abs(-1) + floor(1.5) + ceil(1.5)', 4],
  ['sqrt(4) + exp(0) + log(1)', 3],
])('%s is %d', (text, expected) => expect(value(text)).toBe(expected));

it('accepts names of graders, even those of functions', () => {
  expect(value('(a + 2 * min) / 3', { a: 1, min: 4 })).toBe(3);
  expect([...parseFormula('a + min(b, a)', 'x').names]).toEqual(['a', 'b']);
});

it.each([
  ['', 'calculate_output: expected a number, the name of a grader, a function or "(", got the end'],
  ['1 +', 'got the end'],
  ['(1', 'expected ")", got the end'],
  ['a b', 'expected an operator (+ - * / ^), got "b" at character 3'],
  ['a.constructor', 'expected an operator (+ - * / ^), got "." at character 2'],
  ['a = 1', 'got "=" at character 3'],
  [
    'eval(1)',
    'expected one of the functions min, max, abs, floor, ceil, exp, sqrt, log, got "eval"',
  ],
  ['toString(1)', 'got "toString"'],
  ['sqrt(1, 2)', 'expected ")", got ","'],
  ['1e999', 'got "1e999"'],
])('rejects %s', (text, message) => expect(() => value(text)).toThrow(message));
