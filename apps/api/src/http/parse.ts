import { DomainError, type Page } from '@graft/contracts';
import type { ApiBodyOptions } from '@nestjs/swagger';
import { z } from 'zod';

/** JSON schema of a request body for the OpenAPI document, with an optional example. */
export function bodySchema(
  schema: z.ZodType,
  example?: object,
): Extract<ApiBodyOptions, { schema: unknown }>['schema'] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  delete json.$schema;
  if (example) json.examples = [example];
  return json as Extract<ApiBodyOptions, { schema: unknown }>['schema'];
}

/** Key-value pairs that a client attaches to an object, as OpenAI limits them. */
export const Metadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, 'expected at most 16 pairs')
  .nullish();

export interface PageQuery {
  readonly limit: number;
  readonly after: string | null;
}

/**
 * Parses `limit` and `after` of a list. Rejects a limit above the cap: a shorter page would look like the
 * last one.
 */
export function pageQuery(
  query: Record<string, unknown>,
  defaultLimit: number,
  cap: number,
): PageQuery {
  const raw = query['limit'];
  const limit = raw === undefined || raw === '' ? defaultLimit : numberIn(raw);
  if (!Number.isInteger(limit) || limit < 1 || limit > cap) {
    const given = (typeof raw === 'string' ? raw : JSON.stringify(raw)).slice(0, 40);
    throw new DomainError(
      'invalid_value',
      `limit: expected an integer from 1 to ${cap}, got ${given}`,
      'limit',
    );
  }
  const after = query['after'];
  if (after !== undefined && typeof after !== 'string')
    throw new DomainError('invalid_value', 'after must be a single id', 'after');
  return { limit, after: after || null };
}

/**
 * Parses a number of a query; NaN if it is not a string. `limit[toString]=x` is an object that `Number`
 * throws on.
 */
export const numberIn = (raw: unknown): number => (typeof raw === 'string' ? Number(raw) : NaN);

/** Returns the value of a query parameter; the default is the first of the values. */
export function oneOf(
  query: Record<string, unknown>,
  field: string,
  values: readonly [string, ...string[]],
): string {
  const given = query[field] ?? values[0];
  if (typeof given === 'string' && values.includes(given)) return given;
  throw new DomainError('invalid_value', `${field}: expected ${values.join(' or ')}`, field);
}

/** A page of rows. `rows` contains one more than `limit` if there is another page. */
export function pageOf<Row, Shown extends { readonly id: string }>(
  rows: readonly Row[],
  limit: number,
  shown: (row: Row) => Shown,
): Page<Shown> {
  const data = rows.slice(0, limit).map(shown);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: rows.length > limit,
  };
}

/** A page of rows that are all in memory. */
export function pageInMemory<
  Row extends { readonly id: string },
  Shown extends { readonly id: string },
>(rows: readonly Row[], { limit, after }: PageQuery, shown: (row: Row) => Shown): Page<Shown> {
  const at = after === null ? 0 : rows.findIndex(({ id }) => id === after) + 1;
  // Do not return the first page again: the row may have been deleted between two pages.
  if (after !== null && at === 0)
    throw new DomainError(
      'invalid_value',
      `after: not in this list: ${after.slice(0, 60)}`,
      'after',
    );
  return pageOf(rows.slice(at, at + limit + 1), limit, shown);
}
