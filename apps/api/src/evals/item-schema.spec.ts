import { expect, it } from 'vitest';
import { checkSchema, itemProblem } from './item-schema.js';

const problem = (item: object, schema: object): string | null =>
  itemProblem([item as never], schema as never, 'schema')?.problem ?? null;
const refusal = (schema: object): { message: string; param: string | null } => {
  try {
    checkSchema(schema as never, 'schema');
  } catch (error) {
    return error as { message: string; param: string | null };
  }
  throw new Error('the schema was accepted');
};

it.each([
  [
    { properties: { a: { type: ['string', 'null'] } } },
    { a: 1 },
    'item.a: expected string or null, got 1',
  ],
  [
    { properties: { a: { properties: { b: { enum: ['x', 'y'] } }, required: ['c'] } } },
    { a: { b: 'z', c: 1 } },
    'item.a.b: expected one of x, y, got "z"',
  ],
  [{ properties: { a: { type: 'object', required: ['c'] } } }, { a: {} }, 'item.a.c is required'],
  [
    { properties: { list: { type: 'array', items: { type: 'integer' } } } },
    { list: [1, 'two'] },
    'item.list.1: expected integer, got "two"',
  ],
  [
    { properties: { a: {} }, additionalProperties: false },
    { a: 1, b: 2 },
    'item.b is not a property in item_schema',
  ],
  [
    { properties: { a: { type: 'string', format: 'date' } } },
    { a: 'soon' },
    'match format "date", got "soon"',
  ],
  [
    { $defs: { s: { type: 'string' } }, properties: { a: { $ref: '#/$defs/s' } } },
    { a: 3 },
    'expected string',
  ],
  [
    { properties: { 'a/b': { minLength: 2 } } },
    { 'a/b': 'x' },
    'item.a/b: expected to NOT have fewer than 2',
  ],
])('for schema %j rejects %j', (schema, item, expected) => {
  expect(problem(item, schema)).toContain(expected);
});

it('names the first invalid item and accepts valid ones', () => {
  const schema = { type: 'object', required: ['a'] };
  expect(itemProblem([{ a: 1 }, { a: 2 }], schema, 'schema')).toBeNull();
  expect(itemProblem([{ a: 1 }, {}, {}], schema, 'schema')?.index).toBe(1);
});

it('applies the draft that a schema names', () => {
  const tuple = { properties: { a: { items: [{ type: 'string' }] } } };
  const draft7 = { $schema: 'http://json-schema.org/draft-07/schema#', ...tuple };
  expect(problem({ a: [1] }, draft7)).toContain('item.a.0: expected string');
  expect(refusal(tuple).param).toBe('schema.properties.a.items');
  expect(
    problem({ a: [1] }, { properties: { a: { prefixItems: [{ type: 'string' }] } } }),
  ).toContain('item.a.0');
  expect(refusal({ $schema: 'http://json-schema.org/draft-04/schema#' })).toMatchObject({
    param: 'schema.$schema',
    message: expect.stringContaining('draft 2020-12'),
  });
});

it('rejects an invalid schema and names the invalid part', () => {
  expect(refusal({ type: 'array' }).param).toBe('schema.type');
  expect(refusal({ properties: { a: { minimum: 'x' } } }).param).toBe(
    'schema.properties.a.minimum',
  );
  expect(refusal({ properties: { a: { pattern: '(' } } })).toMatchObject({
    message: /regular expression|regex/i,
  });
  expect(refusal({ $ref: 'https://example.com/x' }).message).toContain("can't resolve reference");
  expect(refusal({ title: 'x'.repeat(70_000) }).message).toContain('bytes as JSON');
});

it('rejects a schema with infinite recursion', () => {
  expect(() => problem({ a: 1 }, { $ref: '#' })).toThrow('refers to itself without end');
});

it('stops checking a schema that takes too long', () => {
  const slow = { properties: { a: { pattern: '^(a+)+$' } } };
  expect(() => problem({ a: `${'a'.repeat(60)}b` }, slow)).toThrow('takes more than 2 s');
  const doubled = Object.fromEntries(
    Array.from({ length: 40 }, (_, n) => {
      const next = { $ref: `#/$defs/d${n + 1}` };
      return [`d${n}`, { allOf: [next, next] }];
    }),
  );
  const schema = { $defs: { ...doubled, d40: { type: 'object' } }, $ref: '#/$defs/d0' };
  expect(() => problem({}, schema)).toThrow('takes more than 2 s');
});
