/** Patterns that people write, read as Python's `re` reads them and matched in linear time (RE2). */
import { DomainError } from '@graft/contracts';
import { RE2JS } from 're2js';

const LONGEST_PATTERN = 512;
/**
 * Linear in the path is linear in the pattern's program, too, and counted repetitions make a large one of a short
 * pattern: `.{999}` has 999 steps. 5,000 take a second for the paths of a large model.
 */
const MOST_STEPS = 5_000;
/** Of a field's patterns together: a rank of its own for each linear of a 70 B model takes 20,000. */
const MOST_STEPS_TOGETHER = 50_000;
/** The same where a number is read out of the path, which takes ten times as long. */
const MOST_STEPS_READING = 2_000;

/** Whether a pattern is the whole of a path: `re.fullmatch`. @throws DomainError when it is none */
export function wholeMatcher(pattern: string, param: string): (path: string) => boolean {
  const [program] = compile([pattern], param, (inner) => inner) as [RE2JS];
  return (path) => program.testExact(path);
}

/** The value of the first pattern that is a path or a whole end of it, or `otherwise`. @throws DomainError */
export function valueByEnd<T>(
  values: Readonly<Record<string, T>>,
  param: string,
  otherwise: T,
): (path: string) => T;
export function valueByEnd<T>(
  values: Readonly<Record<string, T>>,
  param: string,
): (path: string) => T | undefined;
export function valueByEnd<T>(
  values: Readonly<Record<string, T>>,
  param: string,
  otherwise?: T,
): (path: string) => T | undefined {
  const programs = compile(Object.keys(values), param, (inner) => `(?:.*\\.)?(?:${inner})`);
  const inOrder = Object.values(values);
  return (path) => inOrder[programs.findIndex((program) => program.testExact(path))] ?? otherwise;
}

/** The value of the first pattern that a part of a path fits: `re.search`. @throws DomainError */
export function valueByPart<T>(
  values: Readonly<Record<string, T>>,
  param: string,
): (path: string) => T | undefined {
  const programs = compile(Object.keys(values), param, (inner) => `(?:${inner})`);
  const inOrder = Object.values(values);
  return (path) => inOrder[programs.findIndex((program) => program.test(path))];
}

/** The number behind a list of layers that one of the patterns names; null when a path has none. @throws DomainError */
export function layerReader(
  patterns: readonly string[],
  param: string,
): (path: string) => number | null {
  const around = (inner: string): string => `(?:|.*?\\.)(?:${inner})\\.(\\d+)\\.`;
  const programs = compile(patterns, param, around, MOST_STEPS_READING);
  return (path) => {
    for (const program of programs) {
      const match = program.matcher(path);
      if (match.lookingAt()) return Number(match.group(1));
    }
    return null;
  };
}

function compile(
  patterns: readonly string[],
  param: string,
  around: (inner: string) => string,
  together = MOST_STEPS_TOGETHER,
): RE2JS[] {
  let sum = 0;
  return patterns.map((pattern) => {
    const refuse = (why: string): never => {
      const shown = JSON.stringify(pattern.slice(0, 80));
      throw new DomainError('invalid_value', `${shown} ${why}`, param);
    };
    if (pattern.length > LONGEST_PATTERN) refuse(`is longer than ${LONGEST_PATTERN} characters`);
    const inner = inRe2(pattern, (what) =>
      refuse(`has ${what}, which is not supported in ${param}; list the modules`),
    );
    try {
      RE2JS.compile(inner); // alone, so that no parenthesis of ours closes one of theirs
      const program = RE2JS.compile(around(inner));
      const steps = program.programSize();
      sum += steps;
      if (steps <= MOST_STEPS && sum <= together) return program;
    } catch (error) {
      const why = (error as Error).message.replace(/^error parsing regexp: /, '');
      refuse(`is not a regular expression: ${why}`);
    }
    return refuse(
      'makes the patterns too large; lower the repetition counts in {}, or list the modules',
    );
  });
}

/** An escape, a set, a repetition without a least number, or the beginning of a group. */
const TOKEN =
  /\\(.)|\[\^?\]?(?:\\.|[^\]\\])*\]|\{,(\d*)\}|(\((?!\?)|\(\?P<\w+>)|\(\?(?:<?[=!]|P=|\(|<)/gs;
const PYTHON_ESCAPE = /[^A-Za-z]|[AbBdDsSwWZafnrtvxuUN]/;

const ABSENT: readonly (readonly [RegExp, string])[] = [
  [/^\(\?[=!]/, 'a look-ahead'],
  [/^\(\?<[=!]/, 'a look-behind'],
  [/^\(\?P=|^\\[1-9]/, 'a back-reference'],
  [/^\(\?\(/, 'a condition'],
  [/^\(\?</, 'a group named without the P of (?P<name>…)'],
  [/^\[.*\[:/s, 'a POSIX class'],
];

/** A Python pattern as RE2 writes it, capturing nothing. `refuse` gets what one of the two does not have. */
function inRe2(pattern: string, refuse: (what: string) => never): string {
  return pattern.replaceAll(
    TOKEN,
    (token: string, escaped?: string, most?: string, group?: string) => {
      const absent = ABSENT.find(([form]) => form.test(token));
      if (absent) return refuse(absent[1]);
      if (escaped !== undefined && !PYTHON_ESCAPE.test(escaped))
        return refuse(`the escape ${token}`);
      if (escaped === 'Z') return '\\z';
      if (group !== undefined) return '(?:';
      return most === undefined ? token : `{0,${most}}`;
    },
  );
}
