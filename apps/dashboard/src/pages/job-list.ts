import type { JobObject, Page } from '@graft/contracts';
import { useEffect, useRef, useState } from 'react';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { follow } from '../sse.js';
import { isVisible } from '../visibility.js';
import { methodName } from '../wording.js';
import { withPulse } from './job-data.js';

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

/** What the server looks through, but for the file's name: for jobs that arrive on the stream. */
const searchText = (job: JobObject): string =>
  [
    job.id,
    job.status,
    job.model,
    job.fine_tuned_model,
    job.user_provided_suffix,
    methodName(job.peft),
    job.graft.pool,
    job.error?.message,
    ...Object.values(job.metadata ?? {}),
  ]
    .join(' ')
    .toLowerCase();

interface JobList {
  readonly list: readonly JobObject[];
  readonly loading: boolean;
  readonly empty: boolean;
  readonly error: Error | null;
  readonly connected: boolean;
  /** Fetches the next page; null when all are here. */
  readonly older: (() => void) | null;
}

const matches = (job: JobObject, search: string): boolean =>
  search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => searchText(job).includes(word));

const pulsed = (job: JobObject, answers: readonly JobObject[]): JobObject => {
  const answer = answers.find(({ id }) => id === job.id);
  return answer ? withPulse(job, answer) : job;
};

/** The newest jobs that a search finds, kept current by the project's stream. */
export function useJobList(search: string): JobList {
  const first = useLoaded(() => api.jobs(search));
  const [connected, setConnected] = useState(true);
  const [problem, setProblem] = useState<Error | null>(null);
  const { set, reload } = first;
  const current = useRef(search);
  useEffect(() => {
    if (current.current === search) return;
    current.current = search;
    const timer = setTimeout(reload, SEARCH_PAUSE_MS);
    return () => clearTimeout(timer);
  }, [search, reload]);
  useEffect(() => {
    const stop = new AbortController();
    const event = ({ kind, data }: { kind: string; data: string }) => {
      if (kind !== 'job') return;
      const job = JSON.parse(data) as JobObject;
      set((now) =>
        now.data.some(({ id }) => id === job.id) || matches(job, current.current)
          ? { ...now, data: withJob(now.data, job, now.has_more) }
          : now,
      );
    };
    follow('/stream', { event, connected: setConnected }, stop.signal).catch(setProblem);
    return () => stop.abort();
  }, [set]);

  const list = first.value?.data ?? [];
  const running = list.some(({ status }) => status === 'running');
  useEffect(() => {
    if (!running) return;
    const heard = ({ data }: Page<JobObject>) =>
      set((now) => ({ ...now, data: now.data.map((job) => pulsed(job, data)) }));
    const ask = () => void (isVisible() && api.runningJobs().then(heard, () => undefined));
    const timer = setInterval(ask, PULSE_MS);
    return () => clearInterval(timer);
  }, [running, set]);
  const older = () => {
    const add = (page: Page<JobObject>) =>
      set((now) => ({
        ...page,
        data: [
          ...now.data,
          ...page.data.filter((job) => now.data.every((known) => known.id !== job.id)),
        ],
      }));
    api.jobs(search, list.at(-1)?.id).then(add, setProblem);
  };
  return {
    list,
    connected,
    error: first.error ?? problem,
    loading: first.value === null,
    empty: first.value?.data.length === 0,
    older: first.value?.has_more ? older : null,
  };
}
