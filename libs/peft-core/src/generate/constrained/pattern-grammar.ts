// Regular expressions of JSON Schema (ECMA-262) as grammars of the text between the quotes of a JSON
// string. Features beyond a grammar are rejected: lookaround, backreferences, word boundaries, flags.
import { DomainError } from '@graft/contracts';
import { bytes, choice, EMPTY, literal, repeat, sequence, type Node } from './grammar.js';
import { BEYOND_ASCII } from './json-grammar.js';

/** Character class: its ASCII characters, and whether it has all non-ASCII characters. */
interface Class {
  readonly ascii: ReadonlySet<number>;
  readonly beyond: boolean;
  /** Individual non-ASCII characters. */
  readonly more: readonly string[];
}

const range = (from: string, to: string): number[] =>
  Array.from({ length: to.charCodeAt(0) - from.charCodeAt(0) + 1 }, (_, i) => from.charCodeAt(0) + i); // prettier-ignore
const classOf = (...codes: readonly number[]): Class => ({
  ascii: new Set(codes),
  beyond: false,
  more: [],
});
const ALL = Array.from({ length: 128 }, (_, code) => code);
const not = ({ ascii, beyond }: Class): Class => ({
  ascii: new Set(ALL.filter((code) => !ascii.has(code))),
  beyond: !beyond,
  more: [],
});

const DIGITS = classOf(...range('0', '9'));
const WORD = classOf(...range('0', '9'), ...range('A', 'Z'), ...range('a', 'z'), 0x5f);
const SPACES = classOf(0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d);
const DOT = not(classOf(0x0a, 0x0d));
const ANYTHING = not(classOf());
const CLASSES: Readonly<Record<string, Class>> = {
  d: DIGITS,
  D: not(DIGITS),
  w: WORD,
  W: not(WORD),
  s: SPACES,
  S: not(SPACES),
};
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v' };

const inJson = (character: string): Node => literal(JSON.stringify(character).slice(1, -1));
/** ASCII characters are created once: [^a] alone has 33 that are escaped. */
const ASCII = ALL.map((code) => inJson(String.fromCharCode(code)));
/** Returns a character as JSON writes it in a string. */
const written = (character: string): Node =>
  ASCII[character.codePointAt(0) as number] ?? inJson(character);
const isPlain = (code: number): boolean => code >= 0x20 && code !== 0x22 && code !== 0x5c;

/** Nodes of character classes, so that a grammar contains each one once. */
const nodes = new WeakMap<Class, Node>();

function ofClass(one: Class): Node {
  const node = nodes.get(one) ?? nodeOf(one);
  nodes.set(one, node);
  return node;
}

function nodeOf({ ascii, beyond, more }: Class): Node {
  const codes = [...ascii];
  const plain = codes.filter(isPlain).map((code) => [code, code] as const);
  const escaped = codes.filter((code) => !isPlain(code)).map((code) => String.fromCharCode(code));
  return choice(
    ...(plain.length > 0 ? [bytes(...plain)] : []),
    ...[...escaped, ...more].map(written),
    ...(beyond ? [BEYOND_ASCII] : []),
  );
}

const MOST_CHARACTERS = 2000;
const MOST_DEPTH = 100;
/** Maximum length of a repetition's bounds, with braces. */
const MOST_OF_BOUNDS = 20;

/** Whether a node matches the empty text. For nodes that are not recursive. */
function mayBeEmpty(node: Node): boolean {
  if (node.kind === 'sequence') return node.of.every(mayBeEmpty);
  if (node.kind === 'choice') return node.of.some(mayBeEmpty);
  return node.kind === 'repeat' && (node.min === 0 || mayBeEmpty(node.of));
}

/**
 * Returns the grammar of a pattern.
 * @throws DomainError `unsupported` that names the unsupported feature
 */
export function patternGrammar(pattern: string): Node {
  if (pattern.length > MOST_CHARACTERS)
    throw new DomainError('unsupported', `it has more than ${MOST_CHARACTERS} characters`);
  return new Pattern(pattern).read();
}

class Pattern {
  private at = 0;
  private depth = 0;
  private readonly characters: readonly string[];

  constructor(private readonly source: string) {
    this.characters = Array.from(source);
  }

  read(): Node {
    const node = this.choices(true);
    if (this.at < this.characters.length) this.refuse(`an unmatched "${this.characters[this.at]}"`);
    return node;
  }

  private refuse(what: string): never {
    const message = `${JSON.stringify(this.source)} has ${what}, which is not supported`;
    throw new DomainError('unsupported', message);
  }

  private get next(): string | undefined {
    return this.characters[this.at];
  }

  private take(text: string): boolean {
    const isHere = Array.from(text).every((one, i) => this.characters[this.at + i] === one);
    if (isHere) this.at += Array.from(text).length;
    return isHere;
  }

  /** @param isOutermost whether a match without anchors may be anywhere in the text */
  private choices(isOutermost: boolean): Node {
    const found: Node[] = [];
    do {
      const isStart = isOutermost && this.take('^');
      const node = this.parts();
      const isEnd = isOutermost && this.take('$');
      const around = repeat(ofClass(ANYTHING), 0);
      found.push(
        isOutermost ? sequence(isStart ? EMPTY : around, node, isEnd ? EMPTY : around) : node,
      );
    } while (this.take('|'));
    return choice(...found);
  }

  private parts(): Node {
    const parts: Node[] = [];
    while (this.next !== undefined && !'|)'.includes(this.next)) {
      if (this.next === '$' && this.isLast()) break;
      parts.push(this.quantified(this.atom()));
    }
    return sequence(...parts);
  }

  private isLast(): boolean {
    return [undefined, '|'].includes(this.characters[this.at + 1]);
  }

  private atom(): Node {
    if (this.take('(')) {
      if (this.take('?') && !this.take(':')) this.refuse('a group that starts with (?');
      if (++this.depth > MOST_DEPTH) this.refuse(`more than ${MOST_DEPTH} nested groups`);
      const node = this.choices(false);
      this.depth--;
      if (!this.take(')')) this.refuse('a group without ")"');
      return node;
    }
    if (this.take('[')) return this.set();
    if (this.take('.')) return ofClass(DOT);
    if (this.take('\\')) {
      const escape = this.escape();
      return typeof escape === 'string' ? written(escape) : ofClass(escape);
    }
    const character = this.characters[this.at++] as string;
    if ('^$*+?{}])'.includes(character)) this.refuse(`an unexpected "${character}"`); // prettier-ignore
    return written(character);
  }

  private escape(): string | Class {
    const character = this.characters[this.at++] ?? this.refuse('a \\ at the end');
    const known = CLASSES[character] ?? ESCAPES[character];
    if (known !== undefined) return known;
    if (character === 'u') {
      const hex = this.characters.slice(this.at, this.at + 4).join('');
      if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.refuse('a \\u without four hexadecimal digits');
      this.at += 4;
      return String.fromCharCode(parseInt(hex, 16));
    }
    if (/[a-zA-Z0-9]/.test(character)) this.refuse(`\\${character}`);
    return character;
  }

  private set(): Node {
    const isNot = this.take('^');
    const ascii = new Set<number>();
    const more: string[] = [];
    let beyond = false;
    while (!this.take(']')) {
      const from = this.member();
      if (typeof from !== 'string') {
        from.ascii.forEach((code) => ascii.add(code));
        beyond ||= from.beyond;
        continue;
      }
      const isRange = this.next === '-' && this.characters[this.at + 1] !== ']';
      if (isRange) this.at++;
      const to = isRange ? this.member() : from;
      if (typeof to !== 'string' || to < from) this.refuse('an invalid range');
      const isBeyond = (to as string).codePointAt(0)! > 0x7f;
      if (isBeyond && from !== to) this.refuse('a range of non-ASCII characters');
      if (isBeyond) more.push(from);
      else range(from, to as string).forEach((code) => ascii.add(code));
    }
    if (isNot && more.length > 0) this.refuse('a [^…] with non-ASCII characters');
    const found: Class = { ascii, beyond, more };
    return ofClass(isNot ? not(found) : found);
  }

  private member(): string | Class {
    if (this.next === undefined) this.refuse('a [ without ]');
    return this.take('\\') ? this.escape() : (this.characters[this.at++] as string);
  }

  private quantified(node: Node): Node {
    const bounds = this.bounds();
    // Lazy quantifiers match the same texts.
    if (bounds) this.take('?');
    if (!bounds) return node;
    const [min, max] = bounds;
    if (min > max) this.refuse('a repetition whose minimum is greater than its maximum');
    if (Math.max(min, max === Infinity ? 0 : max) > 1 && mayBeEmpty(node))
      this.refuse('a counted repetition of a part that may be empty');
    return repeat(node, min, max);
  }

  private bounds(): readonly [number, number] | null {
    if (this.take('*')) return [0, Infinity];
    if (this.take('+')) return [1, Infinity];
    if (this.take('?')) return [0, 1];
    if (this.next !== '{') return null;
    const here = this.characters.slice(this.at, this.at + MOST_OF_BOUNDS).join('');
    const [whole, min = '', comma, max = ''] = /^\{(\d+)(,?)(\d*)\}/.exec(here) ?? [];
    if (whole === undefined) return null;
    this.at += whole.length;
    const least = Number(min);
    return [least, comma === '' ? least : max === '' ? Infinity : Number(max)];
  }
}
