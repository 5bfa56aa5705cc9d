import { DomainError, fieldPaths, plainWords, shorten, wayOut } from '@graft/contracts';
import type { ApiBodyOptions } from '@nestjs/swagger';
import { z } from 'zod';

/**
 * Validates a body at the edge; the first problem becomes the API's error, with the field's whole path.
 * @param elsewhere fields that the schema leaves to others to check, for whoever misplaces one
 */
export function parseBody<T extends z.ZodType>(
  schema: T,
  body: unknown,
  elsewhere: () => readonly string[] = () => [],
): z.output<T> {
  const result = schema.safeParse(body ?? {}, { error: plainWords });
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  const path = shownPath(issue?.path ?? []) || null;
  if (issue?.code === 'unrecognized_keys') {
    const unknown = [...issue.path, issue.keys[0]];
    const field = shownPath(unknown);
    const known = [...fieldPaths(schema), ...elsewhere()];
    const message = `unknown field ${field}; ${wayOut(unknown.join('.'), known)}`;
    throw new DomainError('unknown_parameter', message, field);
  }
  const own = issue?.code === 'custom' ? issue.params?.['code'] : undefined;
  if (own === 'unsupported') throw new DomainError(own, `${path}: ${issue?.message}`, path);
  const missing = issue?.code === 'invalid_type' && issue.message.includes('received undefined');
  throw new DomainError(
    missing ? 'missing_required_parameter' : 'invalid_value',
    missing
      ? `${path ?? 'body'} is required`
      : `${path ?? 'body'}: ${issue?.message ?? 'is not valid'}`,
    path,
  );
}

/** Keys of a body may be of any length. */
const shownPath = (keys: readonly unknown[]): string => shorten(keys.join('.'), 100);

type Issue = z.core.$ZodIssue;

/** A union reports one list per branch; the branch that got furthest says what is wrong. */
function deepest(issue: Issue | undefined): Issue | undefined {
  if (issue?.code !== 'invalid_union') return issue;
  const branches = issue.errors.map((errors) => errors[0]).filter((error) => error !== undefined);
  const best = branches.sort((a, b) => rank(b) - rank(a))[0];
  return best ? deepest({ ...best, path: [...issue.path, ...best.path] } as Issue) : issue;
}

const rank = (issue: Issue): number =>
  issue.path.length * 2 + (issue.code === 'invalid_value' ? 0 : 1);

/** The same schema for the OpenAPI page. */
export function bodySchema(
  schema: z.ZodType,
): Extract<ApiBodyOptions, { schema: unknown }>['schema'] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  delete json.$schema;
  return json as Extract<ApiBodyOptions, { schema: unknown }>['schema'];
}

export interface PageQuery {
  readonly limit: number;
  readonly after: string | null;
}

/** `limit` and `after` of a list. A limit above the cap is refused: a shorter page would look like the last. */
export function pageQuery(
  query: Record<string, unknown>,
  defaultLimit: number,
  cap: number,
): PageQuery {
  const raw = query['limit'];
  const limit = raw === undefined || raw === '' ? defaultLimit : Number(raw);
  if (!Number.isInteger(limit) || limit < 1 || limit > cap) {
    const given = typeof raw === 'string' ? raw.slice(0, 40) : JSON.stringify(raw);
    throw new DomainError(
      'invalid_value',
      `limit: expected an integer from 1 to ${cap}, got ${given}`,
      'limit',
    );
  }
  const after = query['after'];
  if (after !== undefined && typeof after !== 'string')
    throw new DomainError('invalid_value', 'after must be one id', 'after');
  return { limit, after: after || null };
}
