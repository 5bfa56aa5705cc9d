import type { JobObject, Page } from '@graft/contracts';
import { useCallback, useEffect, useRef, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { follow } from '../api/sse.js';
import { isVisible } from '../browser/visibility.js';
import { withPulse } from '../job/job-data.js';
import { apiQuery, fits, matchesSearch, type JobQuery } from './job-query.js';

/** Milliseconds without typing after which a search is sent. */
const SEARCH_PAUSE_MS = 200;
/** Polling interval while jobs run, because a silent worker causes no event. */
const PULSE_MS = 5000;

const newerFirst = (a: JobObject, b: JobObject): number =>
  b.created_at - a.created_at || (a.id < b.id ? 1 : -1);

/**
 * Replaces a job in the list, or inserts it by its creation time. A job older than all shown ones
 * is left out while further pages exist, because it belongs to one of them.
 */
export function withJob(
  jobs: readonly JobObject[],
  changed: JobObject,
  hasOlder: boolean,
): readonly JobObject[] {
  if (jobs.some((job) => job.id === changed.id))
    return jobs.map((job) => (job.id === changed.id ? changed : job));
  const at = jobs.findIndex((job) => newerFirst(changed, job) < 0);
  if (at === -1) return hasOlder ? jobs : [...jobs, changed];
  return jobs.toSpliced(at, 0, changed);
}

/**
 * Updates a list with a changed job. A new job is inserted only if the list is sorted by newest
 * first; for other orders its position is known when the list is loaded again.
 */
export function changedList(
  jobs: readonly JobObject[],
  changed: JobObject,
  query: JobQuery,
  hasMore: boolean,
): readonly JobObject[] {
  const isListed = jobs.some(({ id }) => id === changed.id);
  if (!fits(changed, query)) return isListed ? jobs.filter(({ id }) => id !== changed.id) : jobs;
  const isByTime = query.sort === 'created_at' && !query.ascending;
  return isListed || (isByTime && matchesSearch(changed, query.search))
    ? withJob(jobs, changed, hasMore)
    : jobs;
}

/** Updates a page, or several joined pages, with a changed job. */
const changedPage = (page: Page<JobObject>, job: JobObject, query: JobQuery): Page<JobObject> => ({
  ...page,
  data: changedList(page.data, job, query, page.has_more),
});

/** Appends a page to a list. Jobs that moved between the requests are kept once. */
function withPage(list: Page<JobObject>, page: Page<JobObject>): Page<JobObject> {
  const ids = new Set(list.data.map(({ id }) => id));
  return { ...page, data: [...list.data, ...page.data.filter(({ id }) => !ids.has(id))] };
}

/** Rounds up to whole pages, up to the number of jobs that one response of the API can have. */
const atOnce = (jobs: number): number => Math.min(1000, Math.max(1, Math.ceil(jobs / 100)) * 100);

/** Loads the list again with as many jobs as are already shown. */
async function asLong(query: JobQuery, shown: () => number): Promise<Page<JobObject>> {
  const parameters = apiQuery(query);
  let list = await api.jobs(parameters, undefined, atOnce(shown()));
  for (let grows = true; grows && list.has_more && list.data.length < shown();) {
    const limit = atOnce(shown() - list.data.length);
    const longer = withPage(list, await api.jobs(parameters, list.data.at(-1)?.id, limit));
    grows = longer.data.length > list.data.length;
    list = longer;
  }
  return list;
}

export interface JobList {
  readonly list: readonly JobObject[];
  readonly loading: boolean;
  readonly empty: boolean;
  readonly error: Error | null;
  readonly connected: boolean;
  /** Loads the next page. Null if all jobs are loaded. */
  readonly more: (() => void) | null;
  /** Applies the response of a change. */
  readonly changed: (job: JobObject) => void;
}

const pulsed = (job: JobObject, answers: readonly JobObject[]): JobObject => {
  const answer = answers.find(({ id }) => id === job.id);
  return answer ? withPulse(job, answer) : job;
};

const NONE: readonly JobObject[] = [];

/** Returns the query to send: a search after a pause in typing, anything else immediately. */
function useSettled(latestQuery: JobQuery): JobQuery {
  const [settled, setSettled] = useState(latestQuery);
  const key = apiQuery(latestQuery).toString();
  const latest = useRef(latestQuery);
  latest.current = latestQuery;
  const isTyped = latestQuery.search !== settled.search;
  useEffect(() => {
    const timer = setTimeout(() => setSettled(latest.current), isTyped ? SEARCH_PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [key, isTyped]);
  return settled;
}

/** Jobs that match a query, page by page, updated by the project's event stream. */
export function useJobList(typedQuery: JobQuery): JobList {
  const query = useSettled(typedQuery);
  const key = apiQuery(query).toString();
  /** Events that arrived while the list was requested. The response may be older. */
  const received = useRef(new Map<string, JobObject>());
  const first = useLoaded<Page<JobObject>>(
    ['jobs', key],
    async (now) => {
      received.current.clear();
      const list = await asLong(query, () => now()?.data.length ?? 0);
      return [...received.current.values()].reduce(
        (all, job) => changedPage(all, job, query),
        list,
      );
    },
    0,
    true,
  );
  const [connected, setConnected] = useState(true);
  const [problem, setProblem] = useState<Error | null>(null);
  const { set } = first;
  const current = useRef({ key, query });
  if (current.current.key !== key) current.current = { key, query };
  /** Last job of the list whose next page is being loaded. */
  const fetching = useRef<string | null>(null);
  useEffect(() => void (fetching.current = null), [key]);
  const changed = useCallback(
    (job: JobObject) => {
      received.current.set(job.id, job);
      set((now) => changedPage(now, job, current.current.query));
    },
    [set],
  );
  useEffect(() => {
    const stop = new AbortController();
    const event = ({ kind, data }: { kind: string; data: string }) => {
      if (kind === 'job') changed(JSON.parse(data) as JobObject);
    };
    follow('/stream', { event, connected: setConnected }, stop.signal).catch(setProblem);
    return () => stop.abort();
  }, [changed]);

  const list = first.value?.data ?? NONE;
  const running = list.some(({ status }) => status === 'running');
  useEffect(() => {
    if (!running) return;
    const answered = ({ data }: Page<JobObject>) =>
      set((now) => ({ ...now, data: now.data.map((job) => pulsed(job, data)) }));
    const ask = () => void (isVisible() && api.runningJobs().then(answered, () => undefined));
    const timer = setInterval(ask, PULSE_MS);
    return () => clearInterval(timer);
  }, [running, set]);
  const last = list.at(-1)?.id;
  const more = useCallback(() => {
    const requested = current.current;
    if (last === undefined || fetching.current === last) return;
    fetching.current = last;
    const add = (page: Page<JobObject>) => {
      if (current.current !== requested) return;
      // Appending it to a list that ends with another job would leave out the jobs between.
      set((now) => (now.data.at(-1)?.id === last ? withPage(now, page) : now));
    };
    const settled = () => {
      if (fetching.current === last) fetching.current = null;
    };
    api.jobs(apiQuery(requested.query), last).then(add).catch(setProblem).finally(settled);
  }, [last, set]);
  return {
    list,
    connected,
    error: first.error ?? problem,
    loading: first.value === null,
    empty: first.value?.data.length === 0,
    more: first.value?.has_more ? more : null,
    changed,
  };
}
