import type { z } from 'zod';
import { DomainError } from './errors.js';
import { fieldPaths, wayOut } from './field-names.js';
import { errorMap, shorten } from './problem.js';

/**
 * Validates a request body.
 * @param elsewhere fields that other code validates, for suggestions if one is misplaced
 * @throws DomainError for the first problem, with the full path of the field
 */
export function parseBody<T extends z.ZodType>(
  schema: T,
  body: unknown,
  elsewhere: () => readonly string[] = () => [],
): z.output<T> {
  const result = schema.safeParse(body ?? {}, { error: errorMap });
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

/** Path of a field for a message. Keys may be empty or of any length. */
const shownPath = (keys: readonly unknown[]): string =>
  shorten(keys.map((key) => (key === '' ? '""' : String(key))).join('.'), 100);

type Issue = z.core.$ZodIssue;

/** A union has one list of issues per branch. Returns the issue of the branch that matched furthest. */
function deepest(issue: Issue | undefined): Issue | undefined {
  if (issue?.code !== 'invalid_union') return issue;
  const branches = issue.errors.map((errors) => errors[0]).filter((error) => error !== undefined);
  const best = branches.sort((a, b) => rank(b) - rank(a))[0];
  return best ? deepest({ ...best, path: [...issue.path, ...best.path] } as Issue) : issue;
}

const rank = (issue: Issue): number =>
  issue.path.length * 2 + (issue.code === 'invalid_value' ? 0 : 1);
