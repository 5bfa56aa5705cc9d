import type { JobObject, OverviewObject } from '@graft/contracts';
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
import { age, methodName, moment, short } from '../wording.js';
import { useJobList } from './job-list.js';

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
