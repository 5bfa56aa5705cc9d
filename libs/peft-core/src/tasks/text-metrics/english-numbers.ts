// Converts spelled-out English numbers to digits, with the rules of Transformers' EnglishNumberNormalizer
// ("twenty five" → 25, "one oh one" → 101, "two point five million dollars" → $2500000), so that another
// notation is not an error. Digits are ASCII only.
import { SPACE, wordPattern } from './unicode-words.js';

const NAMES = (
  'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen ' +
  'nineteen'
).split(' ');
const ZEROS = new Set(['o', 'oh', 'zero']);
const ONES = new Map(NAMES.map((name, i) => [name, BigInt(i + 1)]));
const ORDINALS = new Map([
  ['zeroth', [0n, 'th']],
  ['first', [1n, 'st']],
  ['second', [2n, 'nd']],
  ['third', [3n, 'rd']],
  ['fifth', [5n, 'th']],
  ['twelfth', [12n, 'th']],
] as const);
const ONES_SUFFIXED = new Map<string, readonly [bigint, string]>([
  ...[...ONES].map(
    ([name, value]) => [name === 'six' ? 'sixes' : `${name}s`, [value, 's']] as const,
  ),
  ...ORDINALS,
  ...[...ONES]
    .filter(([, value]) => value > 3n && value !== 5n && value !== 12n)
    .map(([name, value]) => [`${name}${name.endsWith('t') ? 'h' : 'th'}`, [value, 'th']] as const),
]);
const TENS = new Map(
  'twenty thirty forty fifty sixty seventy eighty ninety'
    .split(' ')
    .map((name, i) => [name, BigInt(10 * (i + 2))]),
);
const TENS_SUFFIXED = new Map<string, readonly [bigint, string]>([
  ...[...TENS].map(([name, value]) => [name.replace('y', 'ies'), [value, 's']] as const),
  ...[...TENS].map(([name, value]) => [name.replace('y', 'ieth'), [value, 'th']] as const),
]);
const MULTIPLIERS = new Map<string, bigint>([
  ['hundred', 100n],
  ...'thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion'
    .split(' ')
    .map((name, i) => [name, 1000n ** BigInt(i + 1)] as const),
]);
const MULTIPLIERS_SUFFIXED = new Map<string, readonly [bigint, string]>(
  [...MULTIPLIERS].flatMap(([name, value]) => [
    [`${name}s`, [value, 's']] as const,
    [`${name}th`, [value, 'th']] as const,
  ]),
);
const DECIMALS = new Set([...ONES.keys(), ...TENS.keys(), ...ZEROS]);
const PRECEDING = new Map([
  ['minus', '-'],
  ['negative', '-'],
  ['plus', '+'],
  ['positive', '+'],
]);
const FOLLOWING = new Map([
  ['pound', '£'],
  ['pounds', '£'],
  ['euro', '€'],
  ['euros', '€'],
  ['dollar', '$'],
  ['dollars', '$'],
  ['cent', '¢'],
  ['cents', '¢'],
]);
const SIGNS = new Set([...PRECEDING.values(), ...FOLLOWING.values()]);
const SPECIAL = new Set(['and', 'double', 'triple', 'point']);
const WORDS = new Set([
  ...ZEROS,
  ...[ONES, ONES_SUFFIXED, TENS, TENS_SUFFIXED, MULTIPLIERS, MULTIPLIERS_SUFFIXED, PRECEDING, FOLLOWING].flatMap((map) => [...map.keys()]), // prettier-ignore
  ...SPECIAL,
  'per',
  'percent',
]);
const NUMERIC = /^[0-9]+(?:\.[0-9]+)?$/;

export function standardNumbers(text: string): string {
  const words = spaced(text).split(SPACE).filter(Boolean);
  return finished(new Reading(words).run().join(' '));
}

/** Number read so far: a value that may grow, or digits as written. */
type Value = bigint | string | null;

class Reading {
  readonly #out: string[] = [];
  #value: Value = null;
  #sign: string | null = null;

  constructor(private readonly words: readonly string[]) {}

  run(): readonly string[] {
    for (let i = 0; i < this.words.length; i++) if (this.#word(i)) i++;
    this.#flush();
    return this.#out;
  }

  #say(result: string | bigint): void {
    this.#out.push(`${this.#sign ?? ''}${result}`);
    this.#value = null;
    this.#sign = null;
  }

  #flush(): void {
    if (this.#value !== null) this.#say(this.#value);
  }

  /** @returns whether the next word has also been consumed */
  #word(i: number): boolean {
    const current = this.words[i] as string;
    const [before, next] = [this.words[i - 1] ?? '', this.words[i + 1]];
    const sign = SIGNS.has(current[0] as string) ? (current[0] as string) : '';
    const digits = current.slice(sign.length);
    if (NUMERIC.test(digits)) this.#digits(current, sign, digits);
    else if (!WORDS.has(current)) {
      this.#flush();
      this.#say(current);
    } else if (ZEROS.has(current)) this.#value = `${this.#value || ''}0`;
    else if (ONES.has(current)) this.#ones(ONES.get(current) as bigint, before);
    else if (ONES_SUFFIXED.has(current)) this.#onesSuffixed(ONES_SUFFIXED.get(current), before);
    else if (TENS.has(current)) this.#tens(TENS.get(current) as bigint);
    else if (TENS_SUFFIXED.has(current)) this.#tensSuffixed(TENS_SUFFIXED.get(current));
    else if (MULTIPLIERS.has(current)) this.#multiplied(MULTIPLIERS.get(current) as bigint);
    else if (MULTIPLIERS_SUFFIXED.has(current))
      this.#multipliedSuffixed(MULTIPLIERS_SUFFIXED.get(current));
    else return this.#sign_(current, before, next);
    return false;
  }

  #digits(current: string, sign: string, digits: string): void {
    if (typeof this.#value === 'string' && this.#value.endsWith('.')) {
      // parts of an address
      this.#value += current;
      return;
    }
    this.#flush();
    if (sign) this.#sign = sign;
    this.#value = whole(digits) ?? digits;
  }

  #ones(ones: bigint, before: string): void {
    const value = this.#value;
    if (value === null) this.#value = ones;
    else if (typeof value === 'string' || ONES.has(before))
      this.#value =
        TENS.has(before) && ones < 10n ? `${`${value}`.slice(0, -1)}${ones}` : `${value}${ones}`;
    else if (value % (ones < 10n ? 10n : 100n) === 0n) this.#value = value + ones;
    else this.#value = `${value}${ones}`;
  }

  #onesSuffixed([ones, suffix]: readonly [bigint, string] = [0n, ''], before: string): void {
    const value = this.#value;
    if (value === null) this.#say(`${ones}${suffix}`);
    else if (typeof value === 'string' || ONES.has(before))
      this.#say(
        TENS.has(before) && ones < 10n
          ? `${`${value}`.slice(0, -1)}${ones}${suffix}`
          : `${value}${ones}${suffix}`,
      );
    else if (value % (ones < 10n ? 10n : 100n) === 0n) this.#say(`${value + ones}${suffix}`);
    else this.#say(`${value}${ones}${suffix}`);
    this.#value = null;
  }

  #tens(tens: bigint): void {
    const value = this.#value;
    if (value === null) this.#value = tens;
    else if (typeof value === 'bigint' && value % 100n === 0n) this.#value = value + tens;
    else this.#value = `${value}${tens}`;
  }

  #tensSuffixed([tens, suffix]: readonly [bigint, string] = [0n, '']): void {
    const value = this.#value;
    if (value === null) this.#say(`${tens}${suffix}`);
    else if (typeof value === 'bigint' && value % 100n === 0n)
      this.#say(`${value + tens}${suffix}`);
    else this.#say(`${value}${tens}${suffix}`);
  }

  #multiplied(multiplier: bigint): void {
    const value = this.#value;
    if (value === null) this.#value = multiplier;
    else if (typeof value === 'string' || value === 0n) {
      const product = whole(`${value}`, multiplier);
      if (product === null) {
        this.#say(value);
        this.#value = multiplier;
      } else this.#value = product;
    } else this.#value = grown(value, multiplier);
  }

  #multipliedSuffixed([multiplier, suffix]: readonly [bigint, string] = [1n, '']): void {
    const value = this.#value;
    if (value === null) this.#say(`${multiplier}${suffix}`);
    else if (typeof value === 'string') {
      const product = whole(value, multiplier);
      if (product === null) {
        this.#say(value);
        this.#say(`${multiplier}${suffix}`);
      } else this.#say(`${product}${suffix}`);
    } else this.#say(`${grown(value, multiplier)}${suffix}`);
    this.#value = null;
  }

  #sign_(current: string, before: string, next: string | undefined): boolean {
    const goesOn = next !== undefined && (WORDS.has(next) || NUMERIC.test(next));
    if (PRECEDING.has(current)) {
      this.#flush();
      if (goesOn) this.#sign = PRECEDING.get(current) as string;
      else this.#say(current);
      return false;
    }
    if (FOLLOWING.has(current)) {
      if (this.#value === null) this.#say(current);
      else {
        this.#sign = FOLLOWING.get(current) as string;
        this.#say(this.#value);
      }
      return false;
    }
    if (current === 'percent' || current === 'per') return this.#percent(current, next);
    return this.#special(current, before, next, goesOn);
  }

  #percent(current: string, next: string | undefined): boolean {
    if (this.#value === null) this.#say(current);
    else if (current === 'percent') this.#say(`${this.#value}%`);
    else if (next === 'cent') {
      this.#say(`${this.#value}%`);
      return true;
    } else {
      this.#say(this.#value);
      this.#say(current);
    }
    return false;
  }

  #special(current: string, before: string, next: string | undefined, goesOn: boolean): boolean {
    if (!goesOn) {
      this.#flush();
      this.#say(current);
    } else if (current === 'and') {
      if (MULTIPLIERS.has(before)) return false;
      this.#flush();
      this.#say(current);
    } else if (current === 'point') {
      if (DECIMALS.has(next as string) || NUMERIC.test(next as string))
        this.#value = `${this.#value || ''}.`;
    } else if (ONES.has(next as string) || ZEROS.has(next as string)) {
      const digit = `${ONES.get(next as string) ?? 0n}`;
      this.#value = `${this.#value || ''}${digit.repeat(current === 'double' ? 2 : 3)}`;
      return true;
    } else {
      this.#flush();
      this.#say(current);
    }
    return false;
  }
}

/** Multiplies the part below a thousand: "two thousand three" "hundred". */
const grown = (value: bigint, multiplier: bigint): bigint =>
  (value / 1000n) * 1000n + (value % 1000n) * multiplier;

/** Returns the product if it is an integer, or null. */
function whole(digits: string, multiplier = 1n): bigint | null {
  const [, before = '', after = ''] = /^([0-9]*)(?:\.([0-9]*))?$/.exec(digits) ?? [];
  if (before === '' && after === '') return null;
  const product = BigInt(before + after) * multiplier;
  const divisor = 10n ** BigInt(after.length);
  return product % divisor === 0n ? product / divisor : null;
}

const AND_A_HALF = new RegExp(
  wordPattern(`\\band${SPACE.source}a${SPACE.source}half\\b`).source,
  'u',
);
const SUFFIX = wordPattern(`([0-9])${SPACE.source}(st|nd|rd|th|s)\\b`);

/**
 * Rewrites "three and a half" as "three point five", separates digits from letters and joins suffixes to
 * digits.
 */
function spaced(text: string): string {
  const segments = text.split(AND_A_HALF);
  const parts = segments.flatMap((segment, i) => {
    if (segment.trim() === '') return [];
    if (i === segments.length - 1) return [segment];
    const last = segment.split(SPACE).filter(Boolean).at(-1) ?? '';
    return [segment, DECIMALS.has(last) || MULTIPLIERS.has(last) ? 'point five' : 'and a half'];
  });
  return parts
    .join(' ')
    .replace(/([a-z])([0-9])/gu, '$1 $2')
    .replace(/([0-9])([a-z])/gu, '$1 $2')
    .replace(SUFFIX, '$1$2');
}

const CENTS = wordPattern('([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\\b');
const ONLY_CENTS = wordPattern('[€£$]0.([0-9]{1,2})\\b');
const ONE = wordPattern('\\b1(s?)\\b');

/** Rewrites "$2 and ¢7" as "$2.07" and 1 as "one". */
const finished = (text: string): string =>
  text
    .replace(
      CENTS,
      (_, sign: string, units: string, cents: string) =>
        `${sign}${units}.${cents.padStart(2, '0')}`,
    )
    .replace(ONLY_CENTS, (_, cents: string) => `¢${Number(cents)}`)
    .replace(ONE, 'one$1');
