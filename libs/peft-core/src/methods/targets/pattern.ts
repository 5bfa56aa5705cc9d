/** User-written patterns with the semantics of Python's `re`, matched in linear time (RE2). */
import { DomainError } from '@graft/contracts';
import { RE2JS } from 're2js';

const LONGEST_PATTERN = 512;
/**
 * Maximum number of steps of all patterns of a job together. Matching time is linear in the path and in the pattern's
 * program, and counted repetitions make large programs from short patterns: `.{999}` has 999 steps.
 */
const MOST_STEPS = 5_000;
/** Maximum number of steps for patterns that read a number from the path, which is ten times slower. */
const MOST_STEPS_READING = 2_000;
/**
 * Minimum number of steps counted for a pattern, because each path is checked even if the pattern is short. A
 * plain name counts 1.
 */
const LEAST_STEPS = 50;
/** Number of compiled pattern lists to cache: those of the latest jobs. */
const KEPT_LISTS = 32;
/** Number of paths whose results a list caches. */
const KEPT_PATHS = 10_000;

/** Returns a matcher of whole paths, as `re.fullmatch`. @throws DomainError for an invalid pattern */
export function wholeMatcher(pattern: string, param: string): (path: string) => boolean {
  const { find } = listOf(WHOLE, [pattern], param);
  return (path) => find(path) === 0;
}

/**
 * Returns the value of the first pattern that matches a path or its last whole parts, or `otherwise`. @throws
 * DomainError
 */
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
  const { find } = listOf(END, Object.keys(values), param);
  const inOrder = Object.values(values);
  return (path) => inOrder[find(path)] ?? otherwise;
}

/** Returns the value of the first pattern found in a path, as `re.search`. @throws DomainError */
export function valueByPart<T>(
  values: Readonly<Record<string, T>>,
  param: string,
): (path: string) => T | undefined {
  const { find } = listOf(PART, Object.keys(values), param);
  const inOrder = Object.values(values);
  return (path) => inOrder[find(path)];
}

/** Returns the number that follows the name of a layer list in a path; null if there is none. @throws DomainError */
export function layerReader(
  patterns: readonly string[],
  param: string,
): (path: string) => number | null {
  const { find } = listOf(LAYER, patterns, param);
  return (path) => {
    const layer = find(path);
    return layer < 0 ? null : layer;
  };
}

/** Checks the total size of a job's patterns. @throws DomainError naming the field of `peft` that exceeds the limit */
export function checkPatternSizes(options: object | null): void {
  let sum = 0;
  for (const [field, value] of Object.entries(options ?? {}) as [string, unknown][]) {
    const asked = patternsOf(field, value);
    if (asked === null) continue;
    sum += listOf(asked.form, asked.patterns, `peft.${field}`).steps;
    if (sum <= MOST_STEPS) continue;
    const message = `${field} makes the patterns of this job too large together (${sum} steps, at most ${MOST_STEPS}); use fewer patterns, lower the repetition counts in {}, or list the modules`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  }
}

function patternsOf(
  field: string,
  value: unknown,
): { readonly form: Form; readonly patterns: readonly string[] } | null {
  if (field === 'layers_pattern' && value !== null)
    return { form: LAYER, patterns: [value].flat() as string[] };
  if (field.endsWith('_modules') && typeof value === 'string')
    return { form: WHOLE, patterns: [value] };
  if (!field.endsWith('_pattern') || typeof value !== 'object' || value === null) return null;
  // AdaLoRA's rank_pattern has names of parameters as keys
  const isByPattern = Object.values(value).every((one) => typeof one === 'number');
  return isByPattern ? { form: END, patterns: Object.keys(value) } : null;
}

/** Kind of match of a pattern in a path. */
interface Form {
  readonly name: string;
  readonly around: (inner: string) => string;
  readonly mostSteps: number;
  /**
   * Returns the result for the pattern at `index` of its list: the index or the number read from the path; -1: no
   * match.
   */
  readonly look: (program: RE2JS, path: string, index: number) => number;
  /** Same as `look`, for plain names. Omitted if there is no faster way. */
  readonly plain?: (name: string, path: string) => boolean;
}

const WHOLE: Form = {
  name: 'whole',
  around: (inner) => inner,
  mostSteps: MOST_STEPS,
  look: (program, path, index) => (program.testExact(path) ? index : -1),
  plain: (name, path) => name.length === path.length && isAt(name, path, 0),
};

const END: Form = {
  ...WHOLE,
  name: 'end',
  around: (inner) => `(?:.*\\.)?(?:${inner})`,
  plain: (name, path) => {
    const at = path.length - name.length;
    return (at === 0 || path[at - 1] === '.') && isAt(name, path, at);
  },
};

const PART: Form = {
  name: 'part',
  around: (inner) => `(?:${inner})`,
  mostSteps: MOST_STEPS,
  look: (program, path, index) => (program.test(path) ? index : -1),
};

const LAYER: Form = {
  name: 'layer',
  around: (inner) => `(?:|.*?\\.)(?:${inner})\\.(\\d+)\\.`,
  mostSteps: MOST_STEPS_READING,
  look: (program, path) => {
    const match = program.matcher(path);
    return match.lookingAt() ? Number(match.group(1)) : -1;
  },
};

/** Module path as in configs. A dot matches any character, as in every pattern. */
const PLAIN_NAME = /^[\w.]+$/;

/** Compares from the end, because the paths of a model start with the same names. */
function isAt(name: string, path: string, at: number): boolean {
  if (at < 0) return false;
  for (let i = name.length - 1; i >= 0; i--)
    if (name[i] !== path[at + i] && name[i] !== '.') return false;
  return true;
}

/** Returns the result of the first pattern of a list that matches the path; -1 if none does. */
type Find = (path: string) => number;

/** List of compiled patterns. */
interface List {
  readonly steps: number;
  readonly find: Find;
}

/** Cache, least recently used first. */
const kept = new Map<string, List>();

function listOf(form: Form, patterns: readonly string[], param: string): List {
  const key = JSON.stringify([form.name, ...patterns]);
  const list = kept.get(key) ?? compile(form, patterns, param);
  kept.delete(key);
  kept.set(key, list);
  for (const [oldest] of kept) if (kept.size > KEPT_LISTS) kept.delete(oldest);
  return list;
}

type Look = (path: string, index: number) => number;

function compile(form: Form, patterns: readonly string[], param: string): List {
  const { plain } = form;
  let steps = 0;
  const looks = patterns.map((pattern): Look => {
    const refuse = (why: string): never => {
      const shown = JSON.stringify(pattern.slice(0, 80));
      throw new DomainError('invalid_value', `${shown} ${why}`, param);
    };
    if (pattern.length > LONGEST_PATTERN) refuse(`is longer than ${LONGEST_PATTERN} characters`);
    const look = plain && PLAIN_NAME.test(pattern) ? null : programOf(form, pattern, param, refuse);
    steps += look ? Math.max(LEAST_STEPS, look.steps) : 1;
    if (steps > form.mostSteps) refuse(TOO_LARGE);
    return look?.look ?? ((path, index) => (plain?.(pattern, path) ? index : -1));
  });
  return { steps, find: remembered((path) => first(looks, path)) };
}

const TOO_LARGE =
  'makes the patterns too large; lower the repetition counts in {}, or list the modules';

function programOf(
  form: Form,
  pattern: string,
  param: string,
  refuse: (why: string) => never,
): { readonly look: Look; readonly steps: number } {
  const inner = inRe2(pattern, (what) =>
    refuse(`has ${what}, which is not supported in ${param}; list the modules`),
  );
  if (sizeOf(inner) > 2 * MOST_STEPS) refuse(TOO_LARGE);
  try {
    RE2JS.compile(inner); // checked alone, so that our parentheses cannot close theirs
    const program = RE2JS.compile(form.around(inner));
    return {
      look: (path, index) => form.look(program, path, index),
      steps: program.programSize(),
    };
  } catch (error) {
    const why = (error as Error).message.replace(/^error parsing regexp: /, '');
    return refuse(`is not a regular expression: ${why}`);
  }
}

function first(looks: readonly Look[], path: string): number {
  for (const [index, look] of looks.entries()) {
    const found = look(path, index);
    if (found >= 0) return found;
  }
  return -1;
}

function remembered(find: Find): Find {
  const answers = new Map<string, number>();
  return (path) => {
    const known = answers.get(path);
    if (known !== undefined) return known;
    if (answers.size >= KEPT_PATHS) answers.clear();
    const found = find(path);
    answers.set(path, found);
    return found;
  };
}

/** Escape, set, repetition, or start of a group; otherwise a single character. */
const PIECE = /\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+)(?:,(\d*))?\}|\((?:\?\w*:)?|./gs;

/**
 * Estimates the number of steps of a pattern before it is compiled, because compiling half a million steps takes
 * seconds.
 */
function sizeOf(pattern: string): number {
  const around: number[] = [];
  let [sum, last] = [0, 0];
  for (const [piece, count, most] of pattern.matchAll(PIECE)) {
    if (piece.startsWith('(')) {
      around.push(sum);
      sum = 0;
    } else if (count !== undefined) {
      const times = Number(most || count);
      sum += last * (times - 1);
      last *= times;
    } else {
      last = piece === ')' ? sum : 1;
      sum = piece === ')' ? sum + (around.pop() ?? 0) : sum + 1;
    }
  }
  return sum;
}

/** Escape, set, repetition without a minimum, or start of a group. */
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

/**
 * Converts a Python pattern to RE2 syntax without capturing groups. Calls `refuse` with what one of the two does not
 * support.
 */
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
