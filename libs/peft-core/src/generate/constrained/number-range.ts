// Numbers of an interval as a grammar, digit by digit. An integer interval [a, b] is split by length and
// by the digits that a and b start with in common; fractions are split by the integer part.
import {
  bytes,
  choice,
  EMPTY,
  literal,
  NEVER,
  optional,
  repeat,
  sequence,
  type Node,
} from './grammar.js';
import { DIGIT, MOST_DIGITS } from './json-grammar.js';

export interface Interval {
  readonly min: number;
  readonly max: number;
  readonly isMinOpen: boolean;
  readonly isMaxOpen: boolean;
}

/** Largest absolute value. */
export const LARGEST = 10 ** MOST_DIGITS - 1;
const made = new Map<number, Node>();
/** Digit nodes are shared, so that large grammars of numbers stay small. */
function digits(from: number, to: number): Node {
  const key = 10 * from + to;
  const node = made.get(key) ?? bytes([0x30 + from, 0x30 + to]);
  made.set(key, node);
  return node;
}
const clamp = (value: number): number => Math.max(-LARGEST, Math.min(LARGEST, value));

/** Returns the integers of an interval, with up to 15 digits. */
export function integers({ min, max, isMinOpen, isMaxOpen }: Interval): Node {
  const least = isMinOpen ? Math.floor(min) + 1 : Math.ceil(min);
  const most = isMaxOpen ? Math.ceil(max) - 1 : Math.floor(max);
  if (least > LARGEST || most < -LARGEST) return NEVER;
  const [low, high] = [clamp(least), clamp(most)];
  return choice(
    ...(low < 0 ? [sequence(literal('-'), natural(Math.max(1, -high), -low))] : []),
    natural(Math.max(0, low), high),
  );
}

/** Returns the integers from a to b, both ≥ 0. */
function natural(a: number, b: number): Node {
  if (a > b) return NEVER;
  const [shortest, longest] = [String(a).length, String(b).length];
  const byLength = Array.from({ length: longest - shortest + 1 }, (_, i) => {
    const length = shortest + i;
    const least = Math.max(a, length === 1 ? 0 : 10 ** (length - 1));
    return ofLength(String(least), String(Math.min(b, 10 ** length - 1)));
  });
  return choice(...byLength);
}

/** Returns the digit strings between two of the same length. */
function ofLength(low: string, high: string): Node {
  const rest = low.length - 1;
  if (rest < 0) return EMPTY;
  if (/^0*$/.test(low) && /^9*$/.test(high)) return repeat(DIGIT, rest + 1, rest + 1);
  const [from, to] = [Number(low[0]), Number(high[0])];
  if (from === to) return sequence(digits(from, from), ofLength(low.slice(1), high.slice(1)));
  return choice(
    sequence(digits(from, from), ofLength(low.slice(1), '9'.repeat(rest))),
    ...(to - from > 1 ? [sequence(digits(from + 1, to - 1), repeat(DIGIT, rest, rest))] : []),
    sequence(digits(to, to), ofLength('0'.repeat(rest), high.slice(1))),
  );
}

/**
 * Returns the numbers of an interval, with up to 15 digits after the decimal point. Null if both bounds
 * lie between two neighboring integers.
 */
export function numbers({ min, max, isMinOpen, isMaxOpen }: Interval): Node | null {
  const below = positive({ min: Math.max(0, -max), max: -min, isMinOpen: max <= 0 && isMaxOpen, isMaxOpen: isMinOpen }); // prettier-ignore
  const above = positive({ min: Math.max(0, min), max, isMinOpen: min >= 0 && isMinOpen, isMaxOpen }); // prettier-ignore
  if (below === null || above === null) return null;
  return choice(sequence(literal('-'), below), above);
}

const ANY_DIGITS = repeat(DIGIT, 0, MOST_DIGITS);
const ANY_FRACTION = optional(sequence(literal('.'), repeat(DIGIT, 1, MOST_DIGITS)));
const ZEROS = repeat(literal('0'), 0, MOST_DIGITS);

function positive({ min, max, isMinOpen, isMaxOpen }: Interval): Node | null {
  if (max < min || max < 0 || min > LARGEST || (min === LARGEST && isMinOpen)) return NEVER;
  // LARGEST has no fraction, because a parser might round it up.
  if (max > LARGEST) return positive({ min, max: LARGEST, isMinOpen, isMaxOpen: false });
  const [low, high] = [Math.floor(min), Math.floor(max)];
  if (low === high) {
    if (fraction(min) === '' && fraction(max) === '')
      return isMinOpen || isMaxOpen ? NEVER : sequence(natural(low, low), atMost('', false));
    if (fraction(min) === '')
      return isMinOpen ? null : sequence(natural(low, low), atMost(fraction(max), isMaxOpen));
    return null;
  }
  return choice(
    sequence(natural(low, low), atLeast(fraction(min), isMinOpen)),
    sequence(natural(low + 1, high - 1), ANY_FRACTION),
    sequence(natural(high, high), atMost(fraction(max), isMaxOpen)),
  );
}

/** Returns the digits after the decimal point. */
const fraction = (value: number): string =>
  Number.isFinite(value) ? (String(value).split('.')[1] ?? '') : '';

/** Returns what may follow the integer part of the lower bound: its fraction or a larger one. */
function atLeast(least: string, isOpen: boolean): Node {
  if (least !== '') return sequence(literal('.'), digitsAtLeast(least, isOpen));
  return isOpen ? sequence(literal('.'), SOME_NOT_ZERO) : ANY_FRACTION;
}

const SOME_NOT_ZERO = sequence(ZEROS, digits(1, 9), ANY_DIGITS);

function digitsAtLeast(least: string, isOpen: boolean): Node {
  if (least === '') return isOpen ? SOME_NOT_ZERO : ANY_DIGITS;
  const first = Number(least[0]);
  return choice(
    ...(first < 9 ? [sequence(digits(first + 1, 9), ANY_DIGITS)] : []),
    sequence(digits(first, first), digitsAtLeast(least.slice(1), isOpen)),
  );
}

function atMost(most: string, isOpen: boolean): Node {
  if (most === '') return isOpen ? NEVER : optional(sequence(literal('.0'), ZEROS));
  return optional(sequence(literal('.'), digitsAtMost(most, isOpen)));
}

/** Returns fractions up to an upper bound, with at least one digit. */
function digitsAtMost(most: string, isOpen: boolean): Node {
  const [first, rest] = [Number(most[0]), most.slice(1)];
  const last = isOpen ? NEVER : ZEROS;
  return choice(
    ...(first > 0 ? [sequence(digits(0, first - 1), ANY_DIGITS)] : []),
    sequence(digits(first, first), rest === '' ? last : optional(digitsAtMost(rest, isOpen))),
  );
}
