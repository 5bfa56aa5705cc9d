// State of the job list in the address: filters, order, and archived or deleted jobs.
import type { JobObject } from '@graft/contracts';
import { JOB_KINDS, kindOf, type JobKind } from '@graft/contracts/job-kinds';
import { methodNames } from '@graft/contracts/job-method';
import { JOB_ORDERS, type JobOrder } from '@graft/contracts/job-orders';
import { methodName } from '../format.js';

export const SHELVES = ['listed', 'archived', 'deleted'] as const;

/** Attributes by which the list can be grouped. */
export const GROUPINGS = ['none', 'sweep', 'tag', 'model'] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface JobQuery {
  readonly search: string;
  readonly status: string;
  readonly tags: readonly string[];
  readonly model: string;
  readonly method: string;
  /** '' for any. */
  readonly kind: JobKind | '';
  readonly shelf: (typeof SHELVES)[number];
  readonly sort: JobOrder;
  readonly ascending: boolean;
  readonly group: Grouping;
}

const oneOf = <T extends string>(values: readonly T[], given: string | null): T =>
  values.find((value) => value === given) ?? values[0]!;

export const parseQuery = (parameters: URLSearchParams): JobQuery => ({
  search: parameters.get('q') ?? '',
  status: parameters.get('status') ?? '',
  tags: parameters.getAll('tag'),
  model: parameters.get('model') ?? '',
  method: parameters.get('method') ?? '',
  kind: JOB_KINDS.find((kind) => kind === parameters.get('kind')) ?? '',
  shelf: oneOf(SHELVES, parameters.get('show')),
  sort: oneOf(JOB_ORDERS, parameters.get('sort')),
  ascending: parameters.get('order') === 'asc',
  group: oneOf(GROUPINGS, parameters.get('group')),
});

/** Returns the page's address. Defaults are omitted. */
export function pathOf(query: JobQuery): string {
  const { search: q, status, model, method, kind, shelf, sort, ascending, group } = query;
  const parts = {
    q,
    status,
    model,
    method,
    kind,
    show: shelf === 'listed' ? '' : shelf,
    sort: sort === 'created_at' ? '' : sort,
    order: ascending ? 'asc' : '',
    group: group === 'none' ? '' : group,
  };
  const parameters = [
    ...Object.entries(parts).filter(([, value]) => value !== ''),
    ...query.tags.map((tag) => ['tag', tag] as [string, string]),
  ];
  if (parameters.length === 0) return '/';
  return `/?${new URLSearchParams(parameters).toString().replaceAll('+', '%20')}`;
}

/** Returns the query parameters of the API, which does not group. */
export const apiQuery = ({
  shelf,
  sort,
  ascending,
  tags,
  group: _,
  ...query
}: JobQuery): URLSearchParams =>
  new URLSearchParams([
    ...Object.entries({ ...query }).filter(([, value]) => value !== ''),
    ...tags.map((tag) => ['tag', tag] as [string, string]),
    ['archived', shelf === 'deleted' ? 'any' : String(shelf === 'archived')],
    ...(shelf === 'deleted' ? [['deleted', 'true'] as [string, string]] : []),
    ['order_by', sort],
    ['order', ascending ? 'asc' : 'desc'],
  ]);

/** Whether any filter other than the search is active. */
export const isFiltered = (query: JobQuery): boolean =>
  pathOf({ ...query, search: '', sort: 'created_at', ascending: false, group: 'none' }) !== '/';

/**
 * Whether a job matches the filters. The search is left to the server, which searches more fields
 * than the browser has.
 */
export function fits(job: JobObject, query: JobQuery): boolean {
  const { status, model, graft } = job;
  const deleted = graft.restorable_until !== null;
  const shelf = deleted ? 'deleted' : graft.archived ? 'archived' : 'listed';
  return (
    shelf === query.shelf &&
    (query.status === '' || query.status === status) &&
    (query.model === '' || query.model === model) &&
    (query.method === '' || isOfMethod(job, query.method)) &&
    (query.kind === '' || query.kind === kindOf(job)) &&
    query.tags.every((tag) => graft.tags.includes(tag))
  );
}

const isOfMethod = (job: JobObject, method: string): boolean =>
  methodNames(job).some((name) => name.toLowerCase() === method.toLowerCase());

/** Returns the text that the server searches, except the file's name. */
const searchText = (job: JobObject): string =>
  [
    job.id,
    job.status,
    job.model,
    job.fine_tuned_model,
    job.graft.name,
    job.user_provided_suffix,
    methodName(job),
    ...methodNames(job),
    job.graft.pool,
    job.error?.message,
    ...job.graft.tags,
    job.graft.note,
    ...Object.values(job.metadata ?? {}),
  ]
    .join(' ')
    .toLowerCase();

/** Whether a job's text contains all words. Used for jobs that arrive on the stream. */
export const matchesSearch = (job: JobObject, search: string): boolean =>
  search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => searchText(job).includes(word));
