// Query of GET /v1/fine_tuning/jobs.
import {
  DomainError,
  JOB_KINDS,
  JOB_ORDERS,
  JOB_STATUSES,
  JOB_LABEL_LIMITS,
} from '@graft/contracts';
import type { JobFilter } from '../history/job-list-query.js';
import { pageQuery } from '../http/parse.js';

/** Maximum page size. The dashboard restores a long table with one request when the user returns to it. */
export const MOST_JOBS = 1000;

type Query = Readonly<Record<string, unknown>>;

export function jobFilter(query: Query): JobFilter {
  return {
    ...pageQuery(query, 20, MOST_JOBS),
    order: {
      by: oneOf(query, 'order_by', JOB_ORDERS) ?? 'created_at',
      ascending: oneOf(query, 'order', ['asc', 'desc']) === 'asc',
    },
    metadata: metadataFilter(query),
    status: oneOf(query, 'status', JOB_STATUSES),
    tags: tagsFilter(query),
    model: text(query, 'model'),
    method: text(query, 'method'),
    kind: oneOf(query, 'kind', JOB_KINDS),
    archived: ARCHIVED[oneOf(query, 'archived', ['false', 'true', 'any']) ?? 'false'],
    deleted: oneOf(query, 'deleted', ['false', 'true']) === 'true',
    words: searchWords(query['search']),
  };
}

const ARCHIVED = { false: false, true: true, any: null } as const;

/** Parses a string parameter. An empty value counts as absent because forms send empty fields. */
function text(query: Query, field: string): string | null {
  const given = query[field] ?? '';
  if (typeof given === 'string' && given.length <= 4096) return given || null;
  throw new DomainError(
    'invalid_value',
    `${field}: expected one string of at most 4096 characters`,
    field,
  );
}

function oneOf<T extends string>(query: Query, field: string, values: readonly T[]): T | null {
  const given = text(query, field);
  if (given === null) return null;
  const found = values.find((one) => one === given);
  if (found !== undefined) return found;
  const shown = given.slice(0, 40);
  throw new DomainError(
    'invalid_value',
    `${field}: expected one of ${values.join(', ')}, got ${shown}`,
    field,
  );
}

/** Parses `tag=…`, which may be repeated. */
function tagsFilter(query: Query): string[] {
  const given: unknown[] = [query['tag'] ?? []].flat();
  if (given.length > JOB_LABEL_LIMITS.tags || !given.every((tag) => typeof tag === 'string'))
    throw new DomainError(
      'invalid_value',
      `tag: expected at most ${JOB_LABEL_LIMITS.tags} strings, as tag=a&tag=b`,
      'tag',
    );
  return (given as string[]).filter((tag) => tag !== '');
}

/** Parses `search=…` into words; their order does not matter. */
function searchWords(raw: unknown): string[] {
  if (raw === undefined || raw === '') return [];
  if (typeof raw !== 'string' || raw.length > 200)
    throw new DomainError('invalid_value', 'search must be at most 200 characters', 'search');
  return raw.split(/\s+/).filter(Boolean).slice(0, 10);
}

/**
 * Parses `metadata[key]=value` in both forms that Express may produce. `metadata=null` selects jobs without
 * metadata.
 */
function metadataFilter(query: Query): Record<string, string> | null | undefined {
  const raw = query['metadata'];
  if (raw === 'null' || raw === '') return null;
  const pairs: Record<string, string> =
    raw && typeof raw === 'object' ? { ...(raw as Record<string, string>) } : {};
  for (const [name, value] of Object.entries(query)) {
    const key = /^metadata\[(.+)\]$/.exec(name)?.[1];
    if (key && typeof value === 'string') pairs[key] = value;
  }
  return Object.keys(pairs).length > 0 ? pairs : undefined;
}
