import type { JobObject, OverviewObject, Page } from '@graft/contracts';
import { useEffect, useRef, useState, type KeyboardEvent } from 'react';
import { api } from '../api.js';
import { jobName, silence, timeSpent } from '../job-words.js';
import { useKeys } from '../keyboard.js';
import { useLoaded } from '../loading.js';
import { go, linkTo, replace } from '../navigation.js';
import { useMay } from '../own-key.js';
import { StreamLost } from '../parts/contact-banner.js';
import { Failure } from '../parts/failure.js';
import { Loading } from '../parts/loading.js';
import { Progress } from '../parts/progress.js';
import { Sparkline } from '../parts/sparkline.js';
import { StatePill } from '../parts/state-pill.js';
import { Row, Table } from '../parts/table.js';
import { follow } from '../sse.js';
import { isVisible } from '../visibility.js';
import { age, methodName, moment, short } from '../wording.js';
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

export function JobsPage({ filter }: { filter: string }) {
  const overview = useLoaded(api.overview, 5000);
  const jobs = useJobList(filter);
  const [selected, setSelected] = useState<string | null>(null);
  const search = useRef<HTMLInputElement>(null);

  const shown = jobs.list;

  // Kept by id: jobs that arrive on top do not move the choice to another one.
  const chosen = Math.max(
    0,
    shown.findIndex((job) => job.id === selected),
  );
  const current = shown[chosen];
  const move = (by: number) =>
    setSelected(shown[Math.max(0, Math.min(shown.length - 1, chosen + by))]?.id ?? null);
  const open = () => current && go(`/jobs/${current.id}`);
  useKeys({ j: () => move(1), k: () => move(-1), Enter: open, '/': () => search.current?.focus() });
  const typed = (event: KeyboardEvent) => {
    if (event.key === 'Enter') open();
    if (event.key === 'Escape') search.current?.blur();
  };

  return (
    <main>
      <h1>Jobs</h1>
      <Strip overview={overview.value} />
      <StreamLost connected={jobs.connected} />
      <Failure error={jobs.error} />
      <div className="bar">
        <input
          ref={search}
          type="search"
          aria-label="Search the jobs"
          placeholder="Search: name, state, model, error…"
          value={filter}
          onKeyDown={typed}
          onChange={(e) =>
            replace(e.target.value ? `/?q=${encodeURIComponent(e.target.value)}` : '/')
          }
        />
        {filter && (
          <span className="faint">
            {shown.length}
            {jobs.older && '+'} found
          </span>
        )}
        <span className="grow" />
        <NewJob />
      </div>
      {jobs.loading && <Loading error={jobs.error} />}
      {jobs.empty && !filter && <Empty />}
      {shown.length > 0 && <JobTable jobs={shown} selected={current?.id ?? null} />}
      {jobs.empty && filter && <p className="faint">No job has all of these words.</p>}
      {jobs.older && (
        <p>
          <button onClick={jobs.older}>Older jobs</button>
        </p>
      )}
    </main>
  );
}

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
function useJobList(search: string): JobList {
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

function Strip({ overview }: { overview: OverviewObject | null }) {
  if (!overview) return null;
  const cells: [string, string | number][] = [
    ['running', overview.jobs['running'] ?? 0],
    ['queued', overview.jobs['queued'] ?? 0],
    ['failed in 24 h', overview.failed_24h],
    ['workers', overview.workers_online],
    ['slots busy', `${overview.slots_busy}/${overview.slots}`],
    ['queue kept by', overview.queue_backend === 'redis' ? 'Redis' : 'PostgreSQL'],
  ];
  return (
    <dl className="strip">
      {cells.map(([name, value]) => (
        <div key={name}>
          <dd>{value}</dd>
          <dt>{name}</dt>
        </div>
      ))}
    </dl>
  );
}

function NewJob() {
  const may = useMay();
  if (!may('jobs:write', 'models:read', 'files:read')) return null;
  return (
    <a className="button main" {...linkTo('/new')}>
      New job
    </a>
  );
}

/** The commands work as they stand, but for the name of one's own data. */
function Empty() {
  const may = useMay();
  const models = useLoaded(async () => (may('models:read') ? (await api.models()).data : []));
  const base = models.value?.find((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
  return (
    <div className="card">
      <h2>No job yet</h2>
      <p>Start one with the form, on your data or on a small sample, or from the command line:</p>
      <pre>
        {!base && 'npx graft models import hub:HuggingFaceTB/SmolLM2-135M-Instruct\n'}
        {`npx graft submit --model ${base?.id ?? 'HuggingFaceTB/SmolLM2-135M-Instruct'} --train yours.jsonl --watch`}
      </pre>
      <NewJob />
    </div>
  );
}

const COLUMNS = ['State', 'Job', 'Base', 'Method', 'Loss', 'Progress', 'Pool', 'Age', 'Took'];

function JobTable({ jobs, selected }: { jobs: readonly JobObject[]; selected: string | null }) {
  return (
    <Table columns={COLUMNS}>
      {jobs.map((job) => (
        <JobRow key={job.id} job={job} selected={job.id === selected} />
      ))}
    </Table>
  );
}

function JobRow({ job, selected }: { job: JobObject; selected: boolean }) {
  const row = useRef<HTMLTableRowElement>(null);
  const silent = silence(job);
  useEffect(() => {
    if (selected) row.current?.scrollIntoView({ block: 'nearest' });
  }, [selected]);
  return (
    <Row
      ref={row}
      className={selected ? 'selected' : undefined}
      aria-current={selected || undefined}
    >
      <td>
        <StatePill status={job.status} />
      </td>
      <td className="break">
        <a {...linkTo(`/jobs/${job.id}`)}>{jobName(job)}</a>
        {job.error && <div className="faint one-line">{job.error.message}</div>}
        {silent && (
          <div className="silent">
            <span aria-hidden="true">⚠</span> {silent}
          </div>
        )}
      </td>
      <td className="base" title={job.model}>
        {job.model}
      </td>
      <td className="method">{methodName(job.peft)}</td>
      <td className="numbers">
        <Sparkline values={job.graft.sparkline} /> {short(job.graft.train_loss)}
      </td>
      <td>
        <Progress job={job} />
      </td>
      <td>{job.graft.pool}</td>
      <td className="numbers" title={moment(job.created_at)}>
        {age(job.created_at)}
      </td>
      <td className="took">{timeSpent(job) ?? '–'}</td>
    </Row>
  );
}
