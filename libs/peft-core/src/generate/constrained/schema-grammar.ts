// JSON Schema (2020-12) as a grammar of the texts that are valid under it. Keywords that a grammar cannot
// express are rejected by name. If a schema has `properties`, other members are never generated, even if
// the schema allows them.
import { DomainError } from '@graft/contracts';
import { choice, EVERY_BYTE, nodesOf, writable, type Node } from './grammar.js';
import * as json from './json-grammar.js';
import { integers, LARGEST, numbers } from './number-range.js';
import { patternGrammar } from './pattern-grammar.js';
import { checkEntries, SchemaBudget } from './schema-limits.js';
import { FORMAT_NAMES, formatGrammar } from './string-formats.js';

type Schema = Readonly<Record<string, unknown>>;

/** Keywords that do not constrain the value. */
const NOTES: ReadonlySet<string> = new Set([
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$schema', '$id', '$comment', '$defs', 'definitions'],
]);
const OF_NUMBERS = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'];
/** Keywords by type. Keywords of other types are ignored. */
const OF_TYPE = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: OF_NUMBERS,
  integer: OF_NUMBERS,
  boolean: [],
  null: [],
} satisfies Readonly<Record<string, readonly string[]>>;
type Type = keyof typeof OF_TYPE;
const TYPED: ReadonlySet<string> = new Set(Object.values(OF_TYPE).flat());
const WHOLE: ReadonlySet<string> = new Set(['type', 'enum', 'const', 'anyOf', 'allOf', '$ref']);
const ADVICE: Readonly<Record<string, string>> = {
  oneOf: 'use anyOf',
  not: 'describe the allowed values instead',
  uniqueItems: 'ask for different items in the prompt',
  multipleOf: 'use type integer',
  patternProperties: 'list the members in properties',
};

const MOST_DEPTH = 100;

/**
 * Returns the grammar of a schema.
 * @param path path of the schema in the request, for errors
 * @param budget budget of the request, if it has several schemas
 * @throws DomainError `unsupported`, `invalid_value` or `request_too_large`, with the path of the keyword
 */
export function schemaGrammar(schema: unknown, path: string, budget = new SchemaBudget()): Node {
  budget.takeSchema(schema, path);
  const root = new SchemaReader(schema, path, budget).read();
  if (!writable(nodesOf(root), EVERY_BYTE).has(root))
    throw new DomainError('invalid_value', `${path}: no value of finite length is valid`, path);
  return root;
}

class SchemaReader {
  /** Grammars of references by target; null while one is being read. */
  private readonly known = new Map<string, Node | null>();
  private depth = 0;

  constructor(
    private readonly whole: unknown,
    private readonly path: string,
    private readonly budget: SchemaBudget,
  ) {}

  read(): Node {
    return this.schema(this.whole, this.path, new Set(['#']));
  }

  /** @param within references that lead here without a part of the value in between, to find cycles */
  private schema(schema: unknown, path: string, within: ReadonlySet<string>): Node {
    if (schema === true) return json.ANY;
    if (schema === false) return json.NEVER;
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
      throw wrong(path, 'expected a schema (an object, true or false)');
    if (++this.depth > MOST_DEPTH) throw wrong(path, 'the schema is nested too deeply');
    const found = this.object(schema as Schema, path, within);
    this.budget.takeNodes(found, path);
    this.depth--;
    return found;
  }

  private object(schema: Schema, path: string, within: ReadonlySet<string>): Node {
    for (const key of Object.keys(schema))
      if (!NOTES.has(key) && !WHOLE.has(key) && !TYPED.has(key)) throw unsupported(`${path}.${key}`, ADVICE[key]); // prettier-ignore
    const alone = ['$ref', 'anyOf', 'allOf'].find((key) => key in schema);
    if (alone !== undefined) {
      const other = Object.keys(schema).find((key) => key !== alone && !NOTES.has(key));
      if (other !== undefined)
        throw unsupported(`${path}.${other}`, `it cannot be combined with ${alone}; remove it`);
      return this.combined(schema, alone, path, within);
    }
    const types = typesOf(schema, path);
    if ('const' in schema || 'enum' in schema) return constants(schema, types, path);
    if (types === null) return json.ANY;
    return choice(...types.map((type) => this.ofType(type, schema, path)));
  }

  private combined(schema: Schema, key: string, path: string, within: ReadonlySet<string>): Node {
    const value = schema[key];
    if (key === '$ref') return this.reference(value, `${path}.$ref`, within);
    const list = listOf(value, `${path}.${key}`);
    if (key === 'allOf' && list.length > 1)
      throw unsupported(`${path}.allOf`, 'merge its schemas into one');
    return choice(...list.map((one, i) => this.schema(one, `${path}.${key}.${i}`, within)));
  }

  private reference(ref: unknown, path: string, within: ReadonlySet<string>): Node {
    if (typeof ref !== 'string' || !/^#(\/|$)/.test(ref))
      throw unsupported(path, 'refer to a part of this schema, such as #/$defs/NAME');
    if (within.has(ref)) throw wrong(path, `${ref} refers to itself`);
    const known = this.known.get(ref);
    if (known) return known;
    if (known === null) return { kind: 'later', node: () => this.known.get(ref) as Node };
    this.known.set(ref, null);
    const target = ref === '#' ? this.whole : this.at(ref, path);
    const node = this.schema(target, path, new Set([...within, ref]));
    this.known.set(ref, node);
    return node;
  }

  private at(ref: string, path: string): unknown {
    const plain = ref.replaceAll(/%[0-9a-fA-F]{2}/g, (one) => String.fromCharCode(parseInt(one.slice(1), 16))); // prettier-ignore
    const steps = plain.slice(2).split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~')); // prettier-ignore
    let found: unknown = this.whole;
    for (const step of steps) {
      if (typeof found !== 'object' || found === null || !Object.hasOwn(found, step))
        throw wrong(path, `${ref} does not exist`);
      found = (found as Schema)[step];
    }
    return found;
  }

  private ofType(type: Type, schema: Schema, path: string): Node {
    switch (type) {
      case 'object':
        return this.members(schema, path);
      case 'array':
        return this.items(schema, path);
      case 'string':
        return stringOf(schema, path);
      case 'boolean':
        return json.BOOLEAN;
      case 'null':
        return json.NULL;
      default:
        return numberOf(type, schema, path);
    }
  }

  private members(schema: Schema, path: string): Node {
    const { properties, required = [], additionalProperties: more } = schema;
    const names = Object.entries(recordOf(properties ?? {}, `${path}.properties`));
    checkEntries(names.length, `${path}.properties`);
    const needed = new Set(listOf(required, `${path}.required`, true));
    const absent = [...needed].find((name) => !names.some(([known]) => known === name));
    if (absent !== undefined)
      throw unsupported(`${path}.required`, `${JSON.stringify(absent)} is not among properties`);
    if (names.length === 0) {
      if (more === false) return json.object([]);
      return json.map(this.schema(more ?? true, `${path}.additionalProperties`, new Set()));
    }
    if (typeof more === 'object' && more !== null)
      throw unsupported(
        `${path}.additionalProperties`,
        'with properties it must be false; remove it',
      );
    const members = names.map(([name, value]): json.Member => ({
      name,
      value: this.schema(value, `${path}.properties.${name}`, new Set()),
      isRequired: needed.has(name),
    }));
    return json.object(members);
  }

  private items(schema: Schema, path: string): Node {
    const { items, prefixItems } = schema;
    const min = countOf(schema, 'minItems', path) ?? 0;
    const max = countOf(schema, 'maxItems', path) ?? Infinity;
    if (min > max) throw wrong(`${path}.minItems`, 'it is greater than maxItems');
    const read = (one: unknown, name: string): Node => this.schema(one, `${path}.${name}`, new Set()); // prettier-ignore
    if (Array.isArray(items))
      throw unsupported(`${path}.items`, 'use prefixItems for a list of schemas');
    if (prefixItems === undefined) return json.array(read(items ?? true, 'items'), min, max);
    const first = listOf(prefixItems, `${path}.prefixItems`);
    if (items !== undefined && items !== false)
      throw unsupported(`${path}.items`, 'with prefixItems it must be false; remove it');
    if (min > first.length)
      throw wrong(`${path}.minItems`, 'it is greater than the number of prefixItems');
    return json.tuple(
      first.slice(0, max).map((one, i) => read(one, `prefixItems.${i}`)),
      min,
    );
  }
}

function typesOf(schema: Schema, path: string): Type[] | null {
  const { type } = schema;
  if (type === undefined) {
    const named = (Object.keys(OF_TYPE) as Type[]).find((one) =>
      OF_TYPE[one].some((key) => key in schema),
    );
    return named ? [named] : null;
  }
  const types = Array.isArray(type) ? (type as unknown[]) : [type];
  const unknown = types.find((one) => !Object.hasOwn(OF_TYPE, String(one)));
  if (unknown !== undefined || types.length === 0)
    throw wrong(`${path}.type`, `expected one or several of ${Object.keys(OF_TYPE).join(', ')}`);
  return [...new Set(types as Type[])];
}

const isOfType = (value: unknown, type: Type): boolean => {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'null') return value === null;
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value); // prettier-ignore
  return typeof value === type;
};

function constants(schema: Schema, types: readonly Type[] | null, path: string): Node {
  const values = 'const' in schema ? [schema['const']] : listOf(schema['enum'], `${path}.enum`);
  const other = Object.keys(schema).find((key) => TYPED.has(key) || ('const' in schema && key === 'enum')); // prettier-ignore
  if (other !== undefined)
    throw unsupported(`${path}.${other}`, 'it cannot be combined with enum or const; remove it');
  const fitting = values.filter((value) => types === null || types.some((type) => isOfType(value, type))); // prettier-ignore
  if (fitting.length === 0) throw wrong(`${path}.enum`, 'no value is of the given type');
  return choice(...fitting.map(json.constant));
}

function stringOf(schema: Schema, path: string): Node {
  const { pattern, format } = schema;
  const min = countOf(schema, 'minLength', path);
  const max = countOf(schema, 'maxLength', path);
  if (pattern === undefined && format === undefined) {
    if ((min ?? 0) > (max ?? Infinity)) throw wrong(`${path}.minLength`, 'it is greater than maxLength'); // prettier-ignore
    return json.string(min, max);
  }
  const key = pattern === undefined ? 'format' : 'pattern';
  const other = [min !== undefined && 'minLength', max !== undefined && 'maxLength', key === 'pattern' && format !== undefined && 'format'].find(Boolean); // prettier-ignore
  if (other) throw unsupported(`${path}.${other}`, `it cannot be combined with ${key}; remove it`);
  if (typeof schema[key] !== 'string') throw wrong(`${path}.${key}`, 'expected a string');
  if (key === 'format') {
    const known = formatGrammar(schema[key]);
    if (known) return known;
    throw unsupported(`${path}.format`, `supported: ${FORMAT_NAMES.join(', ')}`);
  }
  try {
    return json.quoted(patternGrammar(schema[key]));
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw unsupported(`${path}.pattern`, error.message);
  }
}

function numberOf(type: 'number' | 'integer', schema: Schema, path: string): Node {
  const bound = (key: string): number | undefined => {
    const value = schema[key];
    if (value === undefined) return undefined;
    if (typeof value !== 'number') throw wrong(`${path}.${key}`, 'expected a number');
    if (/e/.test(String(value))) throw unsupported(`${path}.${key}`, 'it has too many digits');
    return value;
  };
  const [least, above, most, below] = ['minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum'].map(bound); // prettier-ignore
  if ([least, above, most, below].every((one) => one === undefined))
    return type === 'integer' ? json.INTEGER : json.NUMBER;
  const min = Math.max(least ?? -Infinity, above ?? -Infinity);
  const max = Math.min(most ?? Infinity, below ?? Infinity);
  const beyond = `numbers have at most ${json.MOST_DIGITS} digits before the decimal point`;
  if (min > LARGEST || (min === LARGEST && above === min))
    throw unsupported(`${path}.${above === min ? 'exclusiveMinimum' : 'minimum'}`, beyond);
  if (max < -LARGEST || (max === -LARGEST && below === max))
    throw unsupported(`${path}.${below === max ? 'exclusiveMaximum' : 'maximum'}`, beyond);
  const interval = { min, max, isMinOpen: above === min, isMaxOpen: below === max };
  if (type === 'integer') return integers(interval);
  const node = numbers(interval);
  if (node) return node;
  throw unsupported(`${path}.minimum`, 'both bounds are between two neighboring integers');
}

function countOf(schema: Schema, key: string, path: string): number | undefined {
  const value = schema[key];
  if (value === undefined) return undefined;
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw wrong(`${path}.${key}`, 'expected an integer ≥ 0');
}

function listOf(value: unknown, path: string, mayBeEmpty = false): unknown[] {
  if (Array.isArray(value)) checkEntries(value.length, path);
  if (Array.isArray(value) && (mayBeEmpty || value.length > 0)) return value;
  throw wrong(path, 'expected a list that is not empty');
}

function recordOf(value: unknown, path: string): Schema {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Schema;
  throw wrong(path, 'expected an object');
}

const wrong = (path: string, why: string): DomainError =>
  new DomainError('invalid_value', `${path}: ${why}`, path);
const unsupported = (path: string, way?: string): DomainError =>
  new DomainError('unsupported', `${path}: is not supported${way ? `; ${way}` : ''}`, path);
