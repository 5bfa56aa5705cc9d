// Compares what a form allows with ajv on the same schema, and with JavaScript's JSON.parse and RegExp.
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import type { TokenWriting } from '../../data/text/token-bytes.js';
import { Automaton } from './automaton.js';
import { Constraints, type Constraint } from './constraint.js';
import { EVERY_BYTE, type Node } from './grammar.js';
import { INTEGER, NUMBER, string } from './json-grammar.js';
import { integers, numbers } from './number-range.js';
import { patternGrammar } from './pattern-grammar.js';
import { schemaGrammar } from './schema-grammar.js';

interface Ajv {
  compile(schema: object): ((value: unknown) => boolean) & { errors?: unknown };
}
// the API's dependencies
const load = createRequire(new URL('../../../../../apps/api/package.json', import.meta.url));
const { Ajv2020 } = load('ajv/dist/2020.js') as { Ajv2020: new (options: object) => Ajv };
const { default: addFormats } = load('ajv-formats') as { default: (ajv: Ajv) => void };
const ajv = new Ajv2020({ strict: false });
addFormats(ajv);

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

const automata = new WeakMap<Node, Automaton>();

function accepts(grammar: Node, text: string | Uint8Array): boolean {
  const automaton = automata.get(grammar) ?? new Automaton(grammar, EVERY_BYTE);
  automata.set(grammar, automaton);
  let state = automaton.start;
  for (const byte of typeof text === 'string' ? bytesOf(text) : text)
    state = automaton.step(state, byte);
  return automaton.isEnd(state);
}

const SCHEMAS: readonly (readonly [string, object])[] = [
  ['a flat object', { type: 'object', properties: { name: { type: 'string' }, age: { type: 'integer', minimum: 0, maximum: 130 }, ok: { type: 'boolean' } }, required: ['name', 'age', 'ok'], additionalProperties: false }],
  ['members that may be missing', { type: 'object', properties: { a: { type: 'null' }, b: { type: 'number' }, c: { enum: ['é"\\', 2, null, { x: [1] }] } }, required: ['b'] }],
  ['lists', { type: 'array', items: { type: ['string', 'integer'], maxLength: 5, minLength: 2 }, minItems: 1, maxItems: 4 }],
  ['a tuple', { type: 'array', prefixItems: [{ type: 'integer' }, { const: 'x' }, { type: 'boolean' }], items: false, minItems: 1 }],
  ['a tree', { type: 'object', properties: { value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 } }, required: ['value', 'children'], additionalProperties: false, $defs: { tree: { anyOf: [{ type: 'null' }, { $ref: '#' }] } } }],
  ['alternatives', { anyOf: [{ type: 'object', properties: { kind: { const: 'a' }, n: { type: 'integer' } }, required: ['kind', 'n'] }, { type: 'object', properties: { kind: { const: 'b' }, s: { type: 'string', maxLength: 3 } }, required: ['kind', 's'] }] }],
  ['ranges', { type: 'object', properties: { share: { type: 'number', minimum: 0, maximum: 1 }, below: { type: 'number', exclusiveMinimum: -2.5, exclusiveMaximum: 12.25 }, year: { type: 'integer', minimum: 1987, maximum: 2026 } }, required: ['share', 'below', 'year'] }],
  ['formats', { type: 'object', properties: { day: { type: 'string', format: 'date' }, at: { type: 'string', format: 'date-time' }, id: { type: 'string', format: 'uuid' }, to: { type: 'string', format: 'email' }, ip: { type: 'string', format: 'ipv4' }, host: { type: 'string', format: 'hostname' }, time: { type: 'string', format: 'time' } }, required: ['day', 'at', 'id', 'to', 'ip', 'host', 'time'] }],
  ['a pattern', { type: 'object', properties: { code: { type: 'string', pattern: '^[A-Z]{2}-\\d{3,5}("|\\\\|é)?$' } }, required: ['code'] }],
  ['a map', { type: 'object', additionalProperties: { type: 'integer', maximum: 9 } }],
  ['an empty object', { type: 'object', properties: {}, additionalProperties: false }],
  ['anything', {}],
  ['any object', { type: 'object' }],
  ['a word', { enum: ['yes', 'no'] }],
  ['a number alone', { type: 'number' }],
  ['non-ASCII names', { type: 'object', properties: { 'größe ✓': { enum: ['klein', '大'] } }, required: ['größe ✓'] }],
]; // prettier-ignore

const PLAIN: TokenWriting = { kind: 'plain', joins: true, added: [] };
/** Every byte, and tokens of several bytes across quotes, punctuation and characters. */
const TOKENS = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...['{"', '":', '", "', '"}', '": "', '[{', '}]', '],', 'true', 'fal', 'ame', '12', '0.', ' \n', '\n  ', 'é', '✓', 'ße'].map(bytesOf),
  Uint8Array.of(0xe2, 0x9c),
  Uint8Array.of(0x22, 0xc3),
  bytesOf('</s>'),
]; // prettier-ignore
const EOS = TOKENS.length - 1;
const vocabulary = { bytes: TOKENS, writing: PLAIN, eosIds: [EOS] };

/** Reproducible random numbers in [0, 1) (mulberry32). */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Generates an answer by sampling allowed tokens uniformly. Null if it does not end. */
function walked(constraint: Constraint, seed: number, most = 20_000): Uint8Array | null {
  const draw = random(seed);
  const bytes: number[] = [];
  for (let n = 0; n < most; n++) {
    if (constraint.isComplete) return Uint8Array.from(bytes);
    const ids = [...constraint.allowed(TOKENS.length).entries()].filter(([, is]) => is === 1);
    expect(ids.length, 'tokens that may come next').toBeGreaterThan(0);
    const [id] = ids[Math.floor(draw() * ids.length)] as [number, number];
    if (id === EOS) return Uint8Array.from(bytes);
    constraint.accept(id);
    bytes.push(...(TOKENS[id] as Uint8Array));
  }
  return null;
}

describe('uniform sampling generates valid values:', () => {
  it.each(SCHEMAS)('%s', (_, schema) => {
    const constraints = new Constraints(vocabulary);
    const validate = ajv.compile(schema);
    for (let seed = 0; seed < 60; seed++) {
      const bytes = walked(constraints.of({ type: 'json_schema', schema }), seed);
      expect(bytes, `seed ${seed} ends`).not.toBeNull();
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes as Uint8Array);
      const value: unknown = JSON.parse(text);
      expect(validate(value), `${text}: ${JSON.stringify(validate.errors)}`).toBe(true);
    }
  });

  it('json_object', () => {
    const constraints = new Constraints(vocabulary);
    for (let seed = 0; seed < 60; seed++) {
      const bytes = walked(constraints.of({ type: 'json_object' }), seed) as Uint8Array;
      expect(JSON.parse(Buffer.from(bytes).toString())).toBeTypeOf('object');
    }
  });
});

it('a small vocabulary restricts a form, and rejects one that it cannot write', () => {
  const few = [...'{}[]",:abtrue0123456789</s>'].map(bytesOf);
  const constraints = new Constraints({ ...vocabulary, bytes: few, eosIds: [] });
  const allowed = constraints.of({ type: 'json_schema', schema: { enum: ['ab', 'ac'] } });
  for (const id of [few.findIndex((one) => one[0] === 0x22), few.findIndex((one) => one[0] === 0x61)]) allowed.accept(id); // prettier-ignore
  const next = [...allowed.allowed(few.length).entries()].filter(([, is]) => is);
  expect(next.map(([id]) => String.fromCharCode(few[id]?.[0] ?? 0))).toEqual(['b']);
  expect(() => constraints.of({ type: 'json_schema', schema: { const: 'é' } })).toThrow(
    'no tokens',
  );
});

/** Valid values in the schema's order of members are accepted with and without indentation. */
it.each<[object, unknown[], unknown[]]>([
  [{ type: 'string', minLength: 2, maxLength: 3 }, ['ab', 'é✓', '😀😀😀', '"\\'], ['a', 'abcd', '😀']],
  [{ type: 'integer' }, [0, -5, 123456789012345], [1.5, '1']],
  [{ type: 'array', items: { type: 'boolean' }, maxItems: 2 }, [[], [true], [false, true]], [[true, true, true], [1]]],
  [{ type: 'object', properties: { a: { type: 'integer' }, b: {} }, required: ['b'] }, [{ a: 1, b: {} }, { b: [1, { c: 2 }] }], [{ a: 1 }, {}, { b: 1, x: 2 }]],
  [{ type: ['null', 'integer'], maximum: 3 }, [null, 3, -1], [4, '']],
  [{ type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 }, [0, 999999999999999, -999999999999999], [1000000000000000]],
  [{ type: 'string', enum: ['a', 1] }, ['a'], [1]],
  [{ properties: { a: true } }, [{}, { a: 7 }], [1]],
  [{ allOf: [{ $ref: '#/definitions/x' }], definitions: { x: { const: 'w' } } }, ['w'], [[], 'x']],
])('%j accepts %j but not %j', (schema, good, bad) => {
  const grammar = schemaGrammar(schema, 'schema');
  for (const value of good) {
    expect(accepts(grammar, JSON.stringify(value)), JSON.stringify(value)).toBe(true);
    expect(accepts(grammar, JSON.stringify(value, null, 2)), JSON.stringify(value)).toBe(true);
  }
  for (const value of bad)
    expect(accepts(grammar, JSON.stringify(value)), JSON.stringify(value)).toBe(false);
}); // prettier-ignore

it('accepts JSON texts only', () => {
  const any = schemaGrammar({}, 'schema');
  for (const text of [
    '{"a": [1, 2.5e-3, "\\u00e9\\ud83d\\ude00", null]}',
    '{\n  "a": 1,\n  "b": []\n}',
    '-0',
    '"\x7f"',
    '{\n\t"a": {}\n}',
  ])
    // prettier-ignore
    expect(accepts(any, text), text).toBe(true);
  for (const text of [
    '01',
    '1.',
    '.5',
    '+1',
    '"a',
    '"\n"',
    '"\\x"',
    '"\\ud83d"',
    '{"a" 1}',
    '[1,]',
    '{,}',
    'nul',
    '',
    ' 1',
    '1e999',
    '{"a":1}}',
  ])
    // prettier-ignore
    expect(accepts(any, text), text).toBe(false);
  const invalid = [
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xff],
    [0xe2, 0x9c],
  ];
  for (const bytes of invalid)
    expect(accepts(string(), Uint8Array.of(0x22, ...bytes, 0x22)), bytes.join()).toBe(false);
  expect(accepts(INTEGER, '1234567890123456')).toBe(false);
  expect(accepts(NUMBER, '1e12')).toBe(true);
});

it('accepts exactly the integers of an interval', () => {
  for (const [min, max] of [
    [-1203, 57],
    [0, 0],
    [7, 1000],
    [-99, -9],
    [99, 1001],
    [-0.5, 2.5],
    [5, 4],
  ] as const)
    // prettier-ignore
    for (const isOpen of [false, true]) {
      const grammar = integers({ min, max, isMinOpen: isOpen, isMaxOpen: isOpen });
      for (let n = -1300; n <= 1300; n++) {
        const isIn = isOpen ? n > min && n < max : n >= min && n <= max;
        expect(accepts(grammar, String(n)), `${n} in ${min}..${max}`).toBe(isIn);
      }
    }
  const most = integers({ min: 3, max: Infinity, isMinOpen: false, isMaxOpen: false });
  expect(accepts(most, '999999999999999')).toBe(true);
  expect(accepts(most, '2')).toBe(false);
});

it('accepts exactly the numbers of an interval', () => {
  for (const [min, max] of [
    [-2.5, 12.25],
    [0, 1],
    [-3, -0.75],
    [0.5, 7],
    [3, 3],
    [0, 0.35],
    [-Infinity, 4.1],
    [-1, Infinity],
  ] as const)
    // prettier-ignore
    for (const isOpen of [false, true]) {
      const grammar = numbers({ min, max, isMinOpen: isOpen, isMaxOpen: isOpen });
      if (!grammar) {
        expect([min, max, isOpen]).toEqual([0, 0.35, true]);
        continue;
      }
      for (let n = -400; n <= 1400; n++)
        for (const text of new Set([(n / 100).toFixed(2), String(n / 100)])) {
          const value = Number(text);
          const isIn = isOpen ? value > min && value < max : value >= min && value <= max;
          expect(accepts(grammar, text), `${text} in ${min}..${max}, ${isOpen}`).toBe(isIn);
        }
    }
  expect(numbers({ min: 0.25, max: 0.75, isMinOpen: false, isMaxOpen: false })).toBeNull();
});

it.each(['^a+b*$', 'b', '^(ab|cd){1,2}$', '^[^a-c]{2}$', '^\\w+\\.\\d$', '^a.c$', '^(?:x|y)?z$|^q', '[\\d-]$', '^\\s"\\\\$', '^[é"]$'])(
  'the pattern %s matches like RegExp',
  (source) => {
    const grammar = patternGrammar(source);
    const expression = new RegExp(source, 'u');
    const draw = random(7);
    const letters = [...'abcdqxyzé". \\1-\n'];
    for (let n = 0; n < 1500; n++) {
      const length = Math.floor(draw() * 6);
      const text = Array.from({ length }, () => letters[Math.floor(draw() * letters.length)]).join('');
      const written = JSON.stringify(text).slice(1, -1);
      expect(accepts(grammar, written), JSON.stringify(text)).toBe(expression.test(text));
    }
  },
); // prettier-ignore

it.each<[object, string, string]>([
  [{ oneOf: [{ type: 'null' }] }, 'schema.oneOf', 'use anyOf'],
  [{ type: 'object', properties: { a: { not: {} } } }, 'schema.properties.a.not', 'not supported'],
  [{ type: 'array', uniqueItems: true }, 'schema.uniqueItems', 'not supported'],
  [{ type: 'array', items: [{ type: 'null' }] }, 'schema.items', 'prefixItems'],
  [{ type: 'frog' }, 'schema.type', 'expected one or several of'],
  [{ $ref: '#' }, 'schema.$ref', 'refers to itself'],
  [{ $ref: '#/$defs/none' }, 'schema.$ref', 'does not exist'],
  [{ $ref: 'https://example.com/x' }, 'schema.$ref', '#/$defs/NAME'],
  [{ anyOf: [{ $ref: '#/$defs/a' }], $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }, true] } } }, 'schema.anyOf.0.$ref.anyOf.0.$ref', 'refers to itself'],
  [{ type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }, 'schema', 'no value of finite length'],
  [{ type: 'object', required: ['a'] }, 'schema.required', 'not among properties'],
  [{ type: 'string', pattern: '(?=a)' }, 'schema.pattern', '(?'],
  [{ type: 'string', pattern: '\\bword' }, 'schema.pattern', '\\b'],
  [{ type: 'string', format: 'iri' }, 'schema.format', 'supported: date'],
  [{ type: 'string', pattern: 'a', maxLength: 3 }, 'schema.maxLength', 'combined with pattern'],
  [{ type: 'integer', minimum: 5, maximum: 4 }, 'schema', 'no value'],
  [{ type: 'integer', minimum: 1e16 }, 'schema.minimum', '15 digits'],
  [{ type: 'integer', exclusiveMinimum: 999999999999999 }, 'schema.exclusiveMinimum', '15 digits'],
  [{ type: 'number', maximum: -1e15 }, 'schema.maximum', '15 digits'],
  [{ type: ['null', 'number'], exclusiveMaximum: -999999999999999 }, 'schema.exclusiveMaximum', '15 digits'],
  [{ enum: [] }, 'schema.enum', 'not empty'],
  [{ enum: ['a'], type: 'integer' }, 'schema.enum', 'of the given type'],
  [{ type: 'string', minLength: -1 }, 'schema.minLength', 'integer ≥ 0'],
  [{ anyOf: [{ type: 'null' }], minItems: 2 }, 'schema.minItems', 'combined with anyOf'],
])('rejects %j at %s', (schema, param, message) => {
  expect(() => schemaGrammar(schema, 'schema')).toThrow(
    expect.objectContaining({ param, message: expect.stringContaining(message) as unknown }) as Error,
  );
}); // prettier-ignore
