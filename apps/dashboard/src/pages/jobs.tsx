import type { JobObject, OverviewObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/openai';
import { useEffect, useMemo, useRef, useState } from 'react';
import { api } from '../api.js';
import { useKeys } from '../keyboard.js';
import { useLoaded } from '../loading.js';
import { go, linkTo, replace } from '../navigation.js';
import { Failure } from '../parts/failure.js';
import { Progress } from '../parts/progress.js';
import { Sparkline } from '../parts/sparkline.js';
import { StatePill } from '../parts/state-pill.js';
import { follow } from '../sse.js';
import { ago, duration, methodName, moment, short } from '../wording.js';

/** Replaces the job where it stands in the list, or puts it on top. */
export function withJob(jobs: readonly JobObject[], changed: JobObject): JobObject[] {
  const known = jobs.some((job) => job.id === changed.id);
  return known ? jobs.map((job) => (job.id === changed.id ? changed : job)) : [changed, ...jobs];
}

const searchText = (job: JobObject): string =>
  [job.id, job.status, job.model, job.fine_tuned_model, job.user_provided_suffix, methodName(job.peft), job.error?.message, ...Object.values(job.metadata ?? {})].join(' ').toLowerCase();

export function JobsPage({ filter }: { filter: string }) {
  const overview = useLoaded(api.overview, 5000);
  const jobs = useLoaded(async () => (await api.jobs()).data as JobObject[]);
  const [connected, setConnected] = useState(true);
  const [selected, setSelected] = useState(0);
  const search = useRef<HTMLInputElement>(null);
  const setJobs = jobs.set;

  useEffect(() => {
    const stop = new AbortController();
    const event = ({ kind, data }: { kind: string; data: string }) => {
      if (kind === 'job') setJobs((now) => withJob(now, JSON.parse(data) as JobObject));
    };
    void follow('/stream', { event, connected: setConnected }, stop.signal);
    return () => stop.abort();
  }, [setJobs]);

  const shown = useMemo(() => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    return (jobs.value ?? []).filter((job) => words.every((word) => searchText(job).includes(word)));
  }, [jobs.value, filter]);

  const move = (by: number) => setSelected((now) => Math.max(0, Math.min(shown.length - 1, now + by)));
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    Enter: () => shown[selected] && go(`/jobs/${shown[selected].id}`),
    '/': () => search.current?.focus(),
  });

  return (
    <main>
      <h1>Jobs</h1>
      <Strip overview={overview.value} />
      {!connected && <p className="notice">The live connection is lost; trying again. What you see may be old.</p>}
      <Failure error={jobs.error} />
      <p className="bar">
        <input ref={search} type="search" aria-label="Search the jobs" placeholder="Search: name, state, model, error…" defaultValue={filter} onChange={(e) => replace(`/?q=${encodeURIComponent(e.target.value)}`)} />
        <span className="grow" />
        <a className="button main" {...linkTo('/new')}>
          New job
        </a>
      </p>
      {jobs.value?.length === 0 ? <Empty /> : <JobTable jobs={shown} selected={selected} />}
    </main>
  );
}

function Strip({ overview }: { overview: OverviewObject | null }) {
  if (!overview) return null;
  const cells: [string, string | number][] = [
    ['running', overview.jobs['running'] ?? 0],
    ['queued', overview.jobs['queued'] ?? 0],
    ['failed in 24 h', overview.failed_24h],
    ['workers', overview.workers_online],
    ['slots busy', `${overview.slots_busy}/${overview.slots}`],
    ['queue', overview.queue_backend],
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

function Empty() {
  return (
    <div className="card">
      <h2>No job yet</h2>
      <p>Start one from the command line, or with the form:</p>
      <pre>graft submit --model MODEL --file train.jsonl --peft LORA</pre>
      <a className="button main" {...linkTo('/new')}>
        New job
      </a>
    </div>
  );
}

function JobTable({ jobs, selected }: { jobs: readonly JobObject[]; selected: number }) {
  return (
    <div className="scroll">
      <table>
        <thead>
          <tr>
            {['State', 'Job', 'Base', 'Method', 'Loss', 'Progress', 'Pool', 'Age', 'Took'].map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {jobs.map((job, i) => (
            <tr key={job.id} className={i === selected ? 'selected' : undefined}>
              <td>
                <StatePill status={job.status} />
              </td>
              <td>
                <a {...linkTo(`/jobs/${job.id}`)}>{job.user_provided_suffix ?? job.id}</a>
                {job.error && <div className="faint one-line">{job.error.message}</div>}
              </td>
              <td>{job.model}</td>
              <td>{methodName(job.peft)}</td>
              <td>
                <Sparkline values={job.graft.sparkline} /> <span className="numbers">{short(job.graft.train_loss)}</span>
              </td>
              <td>
                <Progress job={job} />
              </td>
              <td>{job.graft.pool}</td>
              <td title={moment(job.created_at)}>{ago(job.created_at)}</td>
              <td>{took(job)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function took(job: JobObject): string {
  if (job.graft.started_at === null) return '–';
  const end = TERMINAL_STATUSES.includes(job.status) ? job.finished_at : Date.now() / 1000;
  return end === null ? '–' : duration(end - job.graft.started_at);
}
