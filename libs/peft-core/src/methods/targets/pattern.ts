/** Patterns that people write, read as Python's `re` reads them and matched in linear time (RE2). */
import { DomainError } from '@graft/contracts';
import { RE2JS } from 're2js';

const LONGEST_PATTERN = 512;
/**
 * Linear in the path is linear in the pattern's program, too, and counted repetitions make a large one of a short
 * pattern: `.{999}` has 999 steps. This many may all patterns of a job have together.
 */
const MOST_STEPS = 5_000;
/** The same where a number is read out of the path, which takes ten times as long. */
const MOST_STEPS_READING = 2_000;
/** What a pattern counts at least: however short it is, each path is looked at. A plain name counts 1. */
const LEAST_STEPS = 50;
/** Lists of patterns that are kept compiled: those of the latest jobs. */
const KEPT_LISTS = 32;
/** Paths whose answers a list keeps. */
const KEPT_PATHS = 10_000;

/** Whether a pattern is the whole of a path: `re.fullmatch`. @throws DomainError when it is none */
export function wholeMatcher(pattern: string, param: string): (path: string) => boolean {
  const { find } = listOf(WHOLE, [pattern], param);
  return (path) => find(path) === 0;
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
  const { find } = listOf(END, Object.keys(values), param);
  const inOrder = Object.values(values);
  return (path) => inOrder[find(path)] ?? otherwise;
}

/** The value of the first pattern that a part of a path fits: `re.search`. @throws DomainError */
export function valueByPart<T>(
  values: Readonly<Record<string, T>>,
  param: string,
): (path: string) => T | undefined {
  const { find } = listOf(PART, Object.keys(values), param);
  const inOrder = Object.values(values);
  return (path) => inOrder[find(path)];
}

/** The number behind a list of layers that one of the patterns names; null when a path has none. @throws DomainError */
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

/** @throws DomainError naming the field of a job's `peft` whose patterns are too large beside those before it */
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
  // AdaLoRA's are by the names of parameters
  const isByPattern = Object.values(value).every((one) => typeof one === 'number');
  return isByPattern ? { form: END, patterns: Object.keys(value) } : null;
}

/** How a pattern is looked for in a path. */
interface Form {
  readonly name: string;
  readonly around: (inner: string) => string;
  readonly mostSteps: number;
  /** What a path has by the pattern at `index` of its list: the index, or the number that is read; -1: nothing. */
  readonly look: (program: RE2JS, path: string, index: number) => number;
  /** The same for a pattern that is a plain name; left out: there is no short way. */
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

/** A module's path as configs have it. A dot is any character in it, as in each pattern. */
const PLAIN_NAME = /^[\w.]+$/;

/** Compared from the end: the paths of a model begin alike. */
function isAt(name: string, path: string, at: number): boolean {
  if (at < 0) return false;
  for (let i = name.length - 1; i >= 0; i--)
    if (name[i] !== path[at + i] && name[i] !== '.') return false;
  return true;
}

/** What the first pattern of a list that a path has says of the path; -1: it has none. */
type Find = (path: string) => number;

/** Patterns, compiled. */
interface List {
  readonly steps: number;
  readonly find: Find;
}

/** The latest used last. */
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
    RE2JS.compile(inner); // alone, so that no parenthesis of ours closes one of theirs
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

/** An escape, a set, a repetition, or the beginning of a group; else a single character. */
const PIECE = /\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+)(?:,(\d*))?\}|\((?:\?\w*:)?|./gs;

/** About how many steps a pattern has, told before it is compiled: half a million of them take seconds. */
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
