import type { JobObject, Page } from '@graft/contracts';
import { useCallback, useEffect, useRef, useState } from 'react';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { follow } from '../sse.js';
import { isVisible } from '../visibility.js';
import { withPulse } from './job-data.js';
import { apiQuery, fits, hasWords, type JobQuery } from './job-query.js';

/** A search is sent once the typing has paused. */
const SEARCH_PAUSE_MS = 200;
/** A worker that says nothing is no event: while jobs run it is asked for this often. */
const PULSE_MS = 5000;

const newerFirst = (a: JobObject, b: JobObject): number =>
  b.created_at - a.created_at || (a.id < b.id ? 1 : -1);

/**
 * Replaces the job where it stands, or puts it where its time belongs. One that is older than all that are
 * shown belongs to a page that has not been asked for: it is left out while there is such a page.
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
 * A list with a job as it is now. One that is not in it comes in where the newest come first; in another order its
 * place is the server's to say, when the list is asked for again.
 */
export function changedList(
  jobs: readonly JobObject[],
  changed: JobObject,
  query: JobQuery,
  hasMore: boolean,
): readonly JobObject[] {
  const known = jobs.some(({ id }) => id === changed.id);
  if (!fits(changed, query)) return known ? jobs.filter(({ id }) => id !== changed.id) : jobs;
  const isByTime = query.sort === 'created_at' && !query.ascending;
  return known || (isByTime && hasWords(changed, query.search))
    ? withJob(jobs, changed, hasMore)
    : jobs;
}

export interface JobList {
  readonly list: readonly JobObject[];
  readonly loading: boolean;
  readonly empty: boolean;
  readonly error: Error | null;
  readonly connected: boolean;
  /** Fetches the next page; null when all are here. */
  readonly more: (() => void) | null;
  /** Takes in what a change answered with. */
  readonly changed: (job: JobObject) => void;
}

const pulsed = (job: JobObject, answers: readonly JobObject[]): JobObject => {
  const answer = answers.find(({ id }) => id === job.id);
  return answer ? withPulse(job, answer) : job;
};

const NONE: readonly JobObject[] = [];

/** What is asked for: a search once the typing has paused, all else at once. */
function useSettled(wanted: JobQuery): JobQuery {
  const [settled, setSettled] = useState(wanted);
  const key = apiQuery(wanted).toString();
  const latest = useRef(wanted);
  latest.current = wanted;
  const isTyped = wanted.search !== settled.search;
  useEffect(() => {
    const timer = setTimeout(() => setSettled(latest.current), isTyped ? SEARCH_PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [key, isTyped]);
  return settled;
}

/** The jobs that a query finds, page by page, kept current by the project's stream. */
export function useJobList(wanted: JobQuery): JobList {
  const query = useSettled(wanted);
  const key = apiQuery(query).toString();
  const first = useLoaded(['jobs', key], () => api.jobs(apiQuery(query)), 0, true);
  const [connected, setConnected] = useState(true);
  const [problem, setProblem] = useState<Error | null>(null);
  const { set } = first;
  /** What is asked for. */
  const current = useRef({ key, query });
  if (current.current.key !== key) current.current = { key, query };
  /** The last job of the list whose next page is being fetched. */
  const fetching = useRef<string | null>(null);
  useEffect(() => void (fetching.current = null), [key]);
  const changed = useCallback(
    (job: JobObject) =>
      set((now) => ({
        ...now,
        data: changedList(now.data, job, current.current.query, now.has_more),
      })),
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
    const heard = ({ data }: Page<JobObject>) =>
      set((now) => ({ ...now, data: now.data.map((job) => pulsed(job, data)) }));
    const ask = () => void (isVisible() && api.runningJobs().then(heard, () => undefined));
    const timer = setInterval(ask, PULSE_MS);
    return () => clearInterval(timer);
  }, [running, set]);
  const last = list.at(-1)?.id;
  const more = useCallback(() => {
    const asked = current.current;
    if (last === undefined || fetching.current === last) return;
    fetching.current = last;
    const add = (page: Page<JobObject>) => {
      if (current.current !== asked) return;
      set((now) => {
        const known = new Set(now.data.map(({ id }) => id));
        return { ...page, data: [...now.data, ...page.data.filter(({ id }) => !known.has(id))] };
      });
    };
    const failed = (error: Error) => {
      fetching.current = null;
      setProblem(error);
    };
    api.jobs(apiQuery(asked.query), last).then(add, failed);
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
