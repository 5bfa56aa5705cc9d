// The trials of a search: for each trial, the values of its parameters by field path.
import { isDeepStrictEqual } from 'node:util';
import { DomainError, MOST_TRIALS, type SweepRange, type SweepSearch } from '@graft/contracts';
import { sha256 } from '../ids.js';

export type FieldValues = Readonly<Record<string, unknown>>;

type Parameters = NonNullable<SweepSearch['parameters']>;

const DEFAULT_TRIALS = 16;
export const DEFAULT_SEED = 42;
/** Maximum number of draws per wanted trial, if most draws repeat earlier ones. */
const MOST_DRAWS = 50;
/** Maximum number of characters of one value, and of all values of a trial, in messages. */
const [LONGEST_VALUE, LONGEST_WORDS] = [80, 400];
/** Number of hexadecimal digits of a hash that are used, and the number of their values. */
const DIGITS = 13;
const NUMBERS = 2 ** (4 * DIGITS);

/**
 * Returns the options of each trial: all combinations of a grid; otherwise max_trials different random ones,
 * or all combinations if there are no more.
 * @throws DomainError that names the field
 */
export function trialsOf(search: SweepSearch, requested: Parameters): FieldValues[] {
  const parameters = withoutRepeats(requested);
  const { algorithm, max_trials: wanted, seed = DEFAULT_SEED } = search;
  const most = wanted ?? (algorithm === 'grid' ? MOST_TRIALS : DEFAULT_TRIALS);
  const lists = algorithm === 'grid' ? listed(parameters) : onlyLists(parameters);
  const count = lists && Object.values(lists).reduce((n, values) => n * values.length, 1);
  if (lists && count !== null && count <= most) return combinations(lists);
  if (algorithm === 'grid')
    throw new DomainError(
      'invalid_value',
      `search.parameters: ${count} combinations, but at most ${most} trials are allowed${wanted === undefined ? '' : ' (search.max_trials)'}; give fewer values, or use search.algorithm random`,
      'search.parameters',
    );
  return drawn(parameters, most, seed);
}

/** Removes repeated values. */
const withoutRepeats = (parameters: Parameters): Parameters =>
  Object.fromEntries(
    Object.entries(parameters).map(([path, values]) => [
      path,
      Array.isArray(values) ? distinct(values) : values,
    ]),
  );

const distinct = (values: readonly unknown[]): unknown[] =>
  values.filter((value, n) => values.findIndex((one) => isDeepStrictEqual(one, value)) === n);

function listed(parameters: Parameters): Readonly<Record<string, readonly unknown[]>> {
  const lists = onlyLists(parameters);
  if (lists) return lists;
  const [path] = Object.entries(parameters).find(([, values]) => !Array.isArray(values)) ?? [''];
  throw new DomainError(
    'invalid_value',
    `search.parameters.${path}: a grid takes lists of values, not a range; use search.algorithm random`,
    `search.parameters.${path}`,
  );
}

function onlyLists(parameters: Parameters): Readonly<Record<string, readonly unknown[]>> | null {
  const entries = Object.entries(parameters);
  return entries.every(([, values]) => Array.isArray(values))
    ? (Object.fromEntries(entries) as Record<string, readonly unknown[]>)
    : null;
}

/** Returns all combinations. The first parameter changes slowest. */
function combinations(lists: Readonly<Record<string, readonly unknown[]>>): FieldValues[] {
  return Object.entries(lists).reduce<FieldValues[]>(
    (combined, [path, values]) =>
      combined.flatMap((options) => values.map((value) => ({ ...options, [path]: value }))),
    [{}],
  );
}

function drawn(parameters: Parameters, most: number, seed: number): FieldValues[] {
  const combined = new Map<string, FieldValues>();
  for (let n = 0; n < most * MOST_DRAWS && combined.size < most; n++) {
    const entries = Object.entries(parameters).map(([path, values]) => [
      path,
      valueAt(values, chance(seed, n, path)),
    ]);
    const options = Object.fromEntries(entries) as FieldValues;
    const key = JSON.stringify(options);
    if (!combined.has(key)) combined.set(key, options);
  }
  return [...combined.values()];
}

/**
 * Pseudorandom number from 0 (inclusive) to 1 (exclusive), from the seed, the number of the draw and the
 * field only.
 */
const chance = (seed: number, draw: number, path: string): number =>
  parseInt(sha256(`${seed} ${draw} ${path}`).slice(0, DIGITS), 16) / NUMBERS;

function valueAt(values: readonly unknown[] | SweepRange, at: number): unknown {
  if (!('min' in values)) return values[Math.floor(at * values.length)];
  const { min, max, log = false, integer = false } = values;
  // Extend the range by 0.5 on both sides, so that its first and last integers are as likely as the others.
  const [from, to] = integer ? [log ? Math.max(min - 0.5, 0.5) : min - 0.5, max + 0.5] : [min, max];
  const value = log
    ? Math.exp(Math.log(from) + at * (Math.log(to) - Math.log(from)))
    : from + at * (to - from);
  const rounded = integer ? Math.round(value) : Number(value.toPrecision(5));
  return Math.min(max, Math.max(min, rounded));
}

/** Returns a copy of the body with these fields set, whole objects before fields within them. */
export function withOptions(body: FieldValues, options: FieldValues): FieldValues {
  const paths = Object.keys(options).sort((a, b) => a.length - b.length);
  return paths.reduce(
    (combined, path) => withField(combined, path.split('.'), options[path]),
    body,
  );
}

function withField(body: unknown, [name = '', ...within]: string[], value: unknown): FieldValues {
  const fields = typeof body === 'object' && body !== null ? (body as FieldValues) : {};
  const own = Object.hasOwn(fields, name) ? fields[name] : undefined;
  return { ...fields, [name]: within.length === 0 ? value : withField(own, within, value) };
}

/** Formats options like "peft.r 8, graft.learning_rate 0.0002". */
export const describeOptions = (options: FieldValues): string =>
  short(
    Object.entries(options)
      .map(([path, value]) => `${path} ${short(JSON.stringify(value), LONGEST_VALUE)}`)
      .join(', '),
    LONGEST_WORDS,
  );

const short = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1)}…`;
