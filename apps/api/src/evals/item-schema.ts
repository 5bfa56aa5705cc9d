import { createContext, Script } from 'node:vm';
import { DomainError } from '@graft/contracts';
import { Ajv as Ajv7, type ErrorObject, type ValidateFunction } from 'ajv';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

// Checks items against a JSON Schema of draft 6 or later, with ajv. Unknown keywords are annotations, as in the
// standard. References to other documents are rejected, because none are fetched.

const MOST_BYTES = 64 * 1024;

/** Time limit for users' schemas: a pattern or references may take exponential time. */
const MOST_MS = 2_000;

const OPTIONS = { strict: false, logger: false } as const;

const DRAFTS = [
  {
    named: /^https?:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/,
    make: (more: object) => new Ajv2020({ ...OPTIONS, ...more }),
  },
  {
    named: /^https?:\/\/json-schema\.org\/draft\/2019-09\/schema#?$/,
    make: (more: object) => new Ajv2019({ ...OPTIONS, ...more }),
  },
  {
    named: /^https?:\/\/json-schema\.org\/(?:draft-0[67]\/)?schema#?$/,
    make: (more: object) => new Ajv7({ ...OPTIONS, ...more }),
  },
] as const;

type Draft = (typeof DRAFTS)[number];

type Validator = ReturnType<Draft['make']>;

/**
 * Validators of schemas against the metaschema of their draft. Compiling a metaschema takes longer than compiling most
 * schemas, so it happens once per draft, and does not count against the time limit of a user's schema.
 */
const checkers = new Map<Draft, Validator>();

function checkerOf(draft: Draft): Validator {
  const known = checkers.get(draft);
  if (known) return known;
  const checker = withFormats(draft.make({}));
  checker.validateSchema({});
  checkers.set(draft, checker);
  return checker;
}

function withFormats(ajv: Validator): Validator {
  addFormats.default(ajv as Ajv7);
  return ajv;
}

export type Schema = Readonly<Record<string, unknown>>;

/** The first of several items that a schema rejects. */
export interface ItemProblem {
  readonly index: number;
  readonly problem: string;
}

/**
 * Checks a schema.
 * @throws DomainError if it is not the schema of an object
 */
export function checkSchema(schema: Schema, param: string): void {
  compiled(schema, param);
}

/**
 * Returns the first invalid item and its problem, or null.
 * @throws DomainError if the check takes too long
 */
export const itemProblem = (
  items: readonly Schema[],
  schema: Schema,
  param: string,
): ItemProblem | null => itemCheck(schema, param)(items);

/** Returns a function that checks batches of items. All batches share one time limit. */
export function itemCheck(
  schema: Schema,
  param: string,
): (items: readonly Schema[]) => ItemProblem | null {
  const validate = compiled(schema, param);
  let leftMs = MOST_MS;
  return (items) => {
    const began = performance.now();
    const index = timed(() => items.findIndex((item) => !validate(item)), param, leftMs);
    leftMs -= performance.now() - began;
    return index < 0 ? null : { index, problem: problemOf(validate.errors?.[0], items[index]) };
  };
}

function compiled(schema: Schema, param: string): ValidateFunction {
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes > MOST_BYTES)
    throw wrong(param, `is ${bytes} bytes as JSON; the limit is ${MOST_BYTES}`);
  if (schema['type'] !== undefined && schema['type'] !== 'object')
    throw wrong(`${param}.type`, 'expected "object"');
  const draft = schema['$schema'];
  const of =
    draft === undefined ? DRAFTS[0] : DRAFTS.find(({ named }) => named.test(String(draft)));
  if (!of) throw wrong(`${param}.$schema`, 'expected draft 2020-12, 2019-09, 7 or 6');
  const checker = checkerOf(of);
  return timed(() => {
    // The URI in `$schema` has several spellings, and each validator only recognizes the spelling of its own draft.
    const { $schema: _, ...own } = schema;
    const isSchema = checker.validateSchema(own);
    const [first] = checker.errors ?? [];
    if (isSchema !== true && first) throw schemaProblem(first, own, param);
    try {
      return withFormats(of.make({ validateSchema: false })).compile(own);
    } catch (error) {
      throw wrong(param, error instanceof Error ? error.message : String(error));
    }
  }, param);
}

/** Runs `work` with a time limit. V8 can interrupt it even within a regular expression. */
function timed<T>(work: () => T, param: string, mostMs = MOST_MS): T {
  let result: { readonly value: T } | null = null;
  const sandbox = createContext({
    work: () => {
      result = { value: work() };
    },
  });
  try {
    new Script('work()').runInContext(sandbox, { timeout: Math.max(1, Math.ceil(mostMs)) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      throw wrong(param, `takes more than ${MOST_MS / 1000} s to check; make it simpler`);
    if (error instanceof RangeError)
      throw wrong(param, 'refers to itself without end, or is nested too deeply');
    throw error;
  }
  return (result as { readonly value: T } | null)!.value;
}

function schemaProblem(error: ErrorObject, schema: Schema, param: string): DomainError {
  const keys = keysOf(error);
  const got = JSON.stringify(valueAt(schema, keys))?.slice(0, 60);
  return wrong([param, ...keys].join('.'), `${expectation(error)}, got ${got}`);
}

function problemOf(error: ErrorObject | undefined, item: unknown): string {
  if (!error) return 'item does not match item_schema';
  const path = ['item', ...keysOf(error)].join('.');
  if (error.keyword === 'required')
    return `${path}.${String(error.params['missingProperty'])} is required`;
  if (error.keyword === 'additionalProperties')
    return `${path}.${String(error.params['additionalProperty'])} is not a property in item_schema, which allows no additional ones`;
  const got = JSON.stringify(valueAt(item, keysOf(error)))?.slice(0, 60);
  return `${path}: ${expectation(error)}, got ${got}`;
}

function expectation({ keyword, params, message = '' }: ErrorObject): string {
  if (keyword === 'type') return `expected ${[params['type']].flat().join(' or ')}`;
  if (keyword === 'enum')
    return `expected one of ${(params['allowedValues'] as readonly unknown[]).map(String).join(', ')}`;
  return message.replace(/^must /, 'expected to ');
}

const keysOf = ({ instancePath }: ErrorObject): string[] =>
  instancePath
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));

const valueAt = (root: unknown, keys: readonly string[]): unknown =>
  keys.reduce<unknown>((value, key) => (value as Schema | undefined)?.[key], root);

const wrong = (param: string, what: string): DomainError =>
  new DomainError('invalid_value', `${param}: ${what}`, param);
