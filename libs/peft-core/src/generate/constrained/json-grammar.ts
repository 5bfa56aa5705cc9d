// JSON (RFC 8259) as a grammar, in the notation that answers are constrained to: at most one space, or a
// line break with indentation, between tokens; numbers with few enough digits for any parser to represent
// them.
import { bytes, choice, literal, NEVER, optional, repeat, sequence, type Node } from './grammar.js';

export const DIGIT = bytes([0x30, 0x39]);
const NOT_ZERO = bytes([0x31, 0x39]);
const HEX = bytes([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
const AFTER = bytes([0x80, 0xbf]);
/** Maximum digits of an integer, and of a fraction: f64 represents as many. */
export const MOST_DIGITS = 15;

/** Optional space, or a line break with indentation. */
export const SPACE = optional(
  choice(
    literal(' '),
    sequence(literal('\n'), choice(repeat(literal(' '), 0, 24), repeat(literal('\t'), 1, 8))),
  ),
);

/** Non-ASCII character in UTF-8 (RFC 3629). */
export const BEYOND_ASCII = choice(
  sequence(bytes([0xc2, 0xdf]), AFTER),
  sequence(literalByte(0xe0), bytes([0xa0, 0xbf]), AFTER),
  sequence(bytes([0xe1, 0xec], [0xee, 0xef]), AFTER, AFTER),
  sequence(literalByte(0xed), bytes([0x80, 0x9f]), AFTER),
  sequence(literalByte(0xf0), bytes([0x90, 0xbf]), AFTER, AFTER),
  sequence(bytes([0xf1, 0xf3]), AFTER, AFTER, AFTER),
  sequence(literalByte(0xf4), bytes([0x80, 0x8f]), AFTER, AFTER),
);

function literalByte(byte: number): Node {
  return bytes([byte, byte]);
}

const HEX_D = choice(literal('d'), literal('D'));
/** UTF-16 escape. An unpaired surrogate is not a character. */
const ESCAPED_UNIT = choice(
  sequence(
    bytes([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]),
    HEX,
    HEX,
    HEX,
  ),
  sequence(HEX_D, bytes([0x30, 0x37]), HEX, HEX),
  sequence(
    ...[HEX_D, bytes([0x38, 0x39], [0x41, 0x42], [0x61, 0x62]), HEX, HEX, literal('\\u')],
    ...[HEX_D, bytes([0x43, 0x46], [0x63, 0x66]), HEX, HEX],
  ),
);
const ESCAPE = sequence(
  literal('\\'),
  choice(...[...'"\\/bfnrt'].map(literal), sequence(literal('u'), ESCAPED_UNIT)),
);

/** Character of a string. */
const CHARACTER = choice(bytes([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7f]), BEYOND_ASCII, ESCAPE);

export const quoted = (inner: Node): Node => sequence(literal('"'), inner, literal('"'));
export const string = (min = 0, max = Infinity): Node => quoted(repeat(CHARACTER, min, max));

export const INTEGER = sequence(
  optional(literal('-')),
  choice(literal('0'), sequence(NOT_ZERO, repeat(DIGIT, 0, MOST_DIGITS - 1))),
);
export const NUMBER = sequence(
  INTEGER,
  optional(sequence(literal('.'), repeat(DIGIT, 1, MOST_DIGITS))),
  optional(sequence(choice(literal('e'), literal('E')), optional(choice(literal('+'), literal('-'))), repeat(DIGIT, 1, 2))), // prettier-ignore
);
export const BOOLEAN = choice(literal('true'), literal('false'));
export const NULL = literal('null');

/** Constant value, written without spaces. */
export const constant = (value: unknown): Node => literal(JSON.stringify(value));

export function array(item: Node, min = 0, max = Infinity): Node {
  if (max === 0) return literal('[]');
  const more = repeat(sequence(literal(','), SPACE, item), Math.max(0, min - 1), max - 1);
  const some = sequence(literal('['), SPACE, item, more, SPACE, literal(']'));
  return min > 0 ? some : choice(literal('[]'), some);
}

const NEXT = sequence(literal(','), SPACE);

/** Array whose items each have their own grammar. */
export function tuple(items: readonly Node[], min: number): Node {
  let rest = sequence(SPACE, literal(']'));
  for (let at = items.length - 1; at >= 0; at--) {
    const taken = sequence(at === 0 ? SPACE : NEXT, items[at] as Node, rest);
    const end = at === 0 ? literal(']') : sequence(SPACE, literal(']'));
    rest = at < min ? taken : choice(taken, end);
  }
  return sequence(literal('['), rest);
}

export interface Member {
  readonly name: string;
  readonly value: Node;
  readonly isRequired: boolean;
}

/** Object with members in the given order. Members that are not required may be omitted. */
export function object(members: readonly Member[]): Node {
  // Rest of the object from a member on: without an earlier member (`first`), or with one (`further`).
  let first = literal('}');
  let further = sequence(SPACE, literal('}'));
  for (const { name, value, isRequired } of members.toReversed()) {
    const member = sequence(constant(name), literal(':'), SPACE, value, further);
    const [one, another] = [sequence(SPACE, member), sequence(NEXT, member)];
    first = isRequired ? one : choice(one, first);
    further = isRequired ? another : choice(another, further);
  }
  return sequence(literal('{'), first);
}

/** Object with members of any name. */
export function map(value: Node): Node {
  const member = sequence(string(), literal(':'), SPACE, value);
  const more = repeat(sequence(literal(','), SPACE, member), 0);
  return choice(literal('{}'), sequence(literal('{'), SPACE, member, more, SPACE, literal('}')));
}

const ANY_LATER: Node = { kind: 'later', node: () => ANY };
export const ANY_ARRAY = array(ANY_LATER);
export const ANY_OBJECT = map(ANY_LATER);
export const ANY: Node = choice(ANY_OBJECT, ANY_ARRAY, string(), NUMBER, BOOLEAN, NULL);

export { NEVER };
