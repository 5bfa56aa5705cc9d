import {
  BUCKET_WIDTHS,
  DomainError,
  USAGE_GROUPS,
  type BucketWidth,
  type UsageGroup,
} from '@graft/contracts';
import { numberIn } from '../http/parse.js';

type Query = Readonly<Record<string, unknown>>;

/** Parsed query of a usage endpoint. Times are Unix seconds. */
export interface UsageQuery {
  /** Start of the first bucket of the page. */
  readonly start: number;
  /** End of the last bucket of the page. */
  readonly end: number;
  readonly width: number;
  /** Start of the next page; null on the last one. */
  readonly next: number | null;
  readonly groups: readonly UsageGroup[];
  /** null selects all. */
  readonly projects: readonly string[] | null;
  readonly models: readonly string[] | null;
}

const NEXT_PAGE = 'page_';
const LATEST = 253_402_300_800;

/**
 * Parses OpenAI's parameters. Buckets begin at full hours or days in UTC.
 * @param now current time in Unix seconds, the default of `end_time`
 * @throws DomainError that names the wrong parameter
 */
export function usageQuery(query: Query, now: number): UsageQuery {
  const name = oneOf(query, 'bucket_width', Object.keys(BUCKET_WIDTHS) as BucketWidth[]) ?? '1d';
  const { seconds: width, usual, most } = BUCKET_WIDTHS[name];
  const limit = time(query, 'limit', { least: 1, most }) ?? usual;
  const from = time(query, 'start_time', { least: 0, most: LATEST });
  if (from === null)
    throw new DomainError(
      'invalid_value',
      'start_time: missing; expected Unix seconds',
      'start_time',
    );
  const to = time(query, 'end_time', { least: 0, most: LATEST }) ?? now;
  const start = page(query) ?? Math.floor(from / width) * width;
  const last = Math.max(start, Math.ceil(to / width) * width);
  const end = Math.min(last, start + limit * width);
  return {
    start,
    end,
    width,
    next: end < last ? end : null,
    groups: list(query, 'group_by').map(groupOf),
    projects: listOrNull(query, 'project_ids'),
    models: listOrNull(query, 'models'),
  };
}

export const pageName = (start: number | null): string | null =>
  start === null ? null : `${NEXT_PAGE}${start}`;

function page(query: Query): number | null {
  const raw = query['page'];
  if (raw === undefined || raw === '') return null;
  const [, digits] = /^page_(\d{1,12})$/.exec(typeof raw === 'string' ? raw : '') ?? [];
  if (digits === undefined)
    throw new DomainError(
      'invalid_value',
      'page: expected the next_page of an earlier page',
      'page',
    );
  return Number(digits);
}

/** Parses a list: `name=a&name=b`, `name[]=a` or `name=a,b`. */
function list(query: Query, name: string): readonly string[] {
  const raw = query[name] ?? query[`${name}[]`] ?? [];
  const all = Array.isArray(raw) ? raw : [raw];
  if (!all.every((one) => typeof one === 'string') || all.length > 100)
    throw new DomainError('invalid_value', `${name}: expected at most 100 texts`, name);
  return (all as string[]).flatMap((one) => one.split(',')).filter(Boolean);
}

function listOrNull(query: Query, name: string): readonly string[] | null {
  const found = list(query, name);
  return found.length === 0 ? null : found;
}

function groupOf(name: string): UsageGroup {
  const group = USAGE_GROUPS.find((one) => one === name);
  if (group) return group;
  throw new DomainError(
    'invalid_value',
    `group_by: expected ${USAGE_GROUPS.join(' or ')}, got ${name.slice(0, 40)}`,
    'group_by',
  );
}

function oneOf<T extends string>(query: Query, name: string, values: readonly T[]): T | null {
  const raw = query[name];
  if (raw === undefined || raw === '') return null;
  const found = values.find((value) => value === raw);
  if (found !== undefined) return found;
  const got = (typeof raw === 'string' ? raw : JSON.stringify(raw)).slice(0, 40);
  throw new DomainError(
    'invalid_value',
    `${name}: expected ${values.join(' or ')}, got ${got}`,
    name,
  );
}

function time(
  query: Query,
  name: string,
  { least, most }: { readonly least: number; readonly most: number },
): number | null {
  const raw = query[name];
  if (raw === undefined || raw === '') return null;
  const value = numberIn(raw);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const got = (typeof raw === 'string' ? raw : JSON.stringify(raw)).slice(0, 40);
  throw new DomainError(
    'invalid_value',
    `${name}: expected an integer from ${least} to ${most}, got ${got}`,
    name,
  );
}
