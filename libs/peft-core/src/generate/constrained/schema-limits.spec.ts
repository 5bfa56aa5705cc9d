import { expect, it } from 'vitest';
import { schemaGrammar } from './schema-grammar.js';
import { SchemaBudget } from './schema-limits.js';

const many = <T>(count: number, one: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => one(i));
const named = (count: number): object =>
  Object.fromEntries(many(count, (i) => [`member${i}`, { type: 'integer' }]));
/** Returns nested lists. */
const nested = (levels: number): unknown =>
  many(levels, (i) => i).reduce((inner: unknown) => [inner], 1);
/** Returns references to the same target, each spelled differently. */
const refs = (count: number): object[] =>
  many(count, (i) => ({ $ref: `#/$defs/${[...'abcdefgh'].map((sign, at) => ((i >> at) & 1 ? `%${sign.charCodeAt(0).toString(16)}` : sign)).join('')}` })); // prettier-ignore

it.each<[string, unknown, string, string]>([
  ['patterns', { anyOf: many(12, () => ({ pattern: '.'.repeat(2000) })) }, 'schema', '20000'],
  ['repeated character classes', { pattern: '[^a]'.repeat(500), anyOf: many(30, (i) => ({ pattern: `${i}${'[^a]'.repeat(150)}` })) }, 'schema', 'patterns'],
  ['references to a pattern', { anyOf: refs(250), $defs: { abcdefgh: { pattern: '[^a]'.repeat(200) } } }, 'schema.anyOf', 'too large'],
  ['numbers with bounds', { anyOf: many(900, () => ({ type: 'number', minimum: 0.12345678, maximum: 98765.4321 })) }, 'schema.anyOf', 'too large'],
  ['prefixItems', { prefixItems: many(10_000, () => true) }, 'schema.prefixItems', '10000 entries'],
  ['properties', { properties: named(5000) }, 'schema.properties', '5000 entries'],
  ['enum', { enum: many(1001, (i) => i) }, 'schema.enum', '1001 entries'],
  ['characters', { const: 'a'.repeat(200_000) }, 'schema', '120000'],
  ['names', { description: { ['a'.repeat(200_000)]: 1 } }, 'schema', '120000'],
  ['lists in a value', { const: nested(10_000) }, 'schema', 'nested too deeply'],
])('rejects a schema that is too large: %s', (_, schema, param, message) => {
  expect(() => schemaGrammar(schema, 'schema')).toThrow(
    expect.objectContaining({
      code: 'request_too_large',
      param: expect.stringContaining(param) as unknown,
      message: expect.stringContaining(message) as unknown,
    }) as Error,
  );
}); // prettier-ignore

it('reads a type once if a list repeats it', () => {
  const type = many(900, () => 'string');
  expect(schemaGrammar({ type, pattern: '^[^a]{3}$' }, 'schema').kind).toBe('sequence');
});

it('limits the depth of nested groups', () => {
  const pattern = `${'('.repeat(900)}a${')'.repeat(900)}`;
  expect(() => schemaGrammar({ pattern }, 'schema')).toThrow('more than 100 nested groups');
});

it.each<[string, unknown]>([
  ['members', { properties: named(1000) }],
  ['dates', { properties: Object.fromEntries(many(900, (i) => [`day${i}`, { format: 'date-time' }])) }],
  ['bounds', { prefixItems: many(900, () => ({ type: 'integer', minimum: 0, maximum: 100 })), items: false }],
  ['an enum', { enum: many(1000, (i) => `value number ${i}`) }],
  ['a long pattern', { pattern: `^(${many(150, (i) => `word${i}`).join('|')})$` }],
  ['any values', { prefixItems: many(1000, () => true) }],
])('accepts a large schema: %s', (_, schema) => {
  expect(schemaGrammar(schema, 'schema')).toBeDefined();
}); // prettier-ignore

it('schemas of one request share a budget', () => {
  const budget = new SchemaBudget();
  const half = { const: 'a'.repeat(70_000) };
  schemaGrammar(half, 'tools.0', budget);
  expect(() => schemaGrammar(half, 'tools.1', budget)).toThrow('tools.1: a schema of more than');
});
