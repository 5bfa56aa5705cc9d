import type { JobObject, OverviewObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState, type KeyboardEvent } from 'react';
import { api } from '../api/api.js';
import { isOver } from '../job/job-text.js';
import { useJobViews, type JobViews } from '../job-list/job-views.js';
import { useKeys } from '../browser/keyboard.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { StreamLost } from '../shell/contact-banner.js';
import { EditJob } from '../job-list/edit-job.js';
import { Failure } from '../ui/failure.js';
import { useJobActions } from '../job-list/job-actions.js';
import { withoutEmpty } from '../job-list/job-columns.js';
import { JobFilters } from '../job-list/job-filters.js';
import { JobTable } from '../job-list/job-table.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { PickedJobs } from '../job-list/picked-jobs.js';
import { ColumnMenu, ViewMenu } from '../job-list/view-menus.js';
import { useJobList, type JobList } from '../job-list/job-list.js';
import { isFiltered, pathOf, type JobQuery } from '../job-list/job-query.js';

/** Table of all jobs. The address holds its filters and order. */
export function JobsPage({ query }: { query: JobQuery }) {
  const overview = useLoaded(['overview'], api.overview, 5000);
  const show = useShow();
  const jobs = useJobList(query);
  const views = useJobViews();
  const actions = useJobActions(jobs.changed);
  const may = useMay()('jobs:write');
  const [picked, setPicked] = useState<readonly JobObject[]>([]);
  const [edited, setEdited] = useState<JobObject | null>(null);
  const pick = (job: JobObject) =>
    setPicked((now) =>
      now.some(({ id }) => id === job.id) ? now.filter(({ id }) => id !== job.id) : [...now, job],
    );
  const { current, open } = useCurrent(jobs.list, pick);

  const shown = useMemo(() => withoutEmpty(views.columns, jobs.list), [views.columns, jobs.list]);
  const isSought = query.search !== '' || isFiltered(query);
  const act =
    query.shelf === 'deleted'
      ? { label: 'Restore', on: (job: JobObject) => actions.restore([job]) }
      : { label: 'Edit', on: setEdited };
  return (
    <main>
      <h1>Jobs</h1>
      <Strip overview={overview.value} />
      <StreamLost connected={jobs.connected} />
      <Failure error={jobs.error ?? actions.error} />
      <Bar query={query} jobs={jobs} views={views} open={open} isSought={isSought} />
      <PickedJobs picked={picked} clear={() => setPicked([])} actions={may ? actions : null} />
      {jobs.loading && <Loading error={jobs.error} />}
      {jobs.empty && !isSought && <Empty />}
      {jobs.list.length > 0 && (
        <JobTable
          jobs={jobs.list}
          shown={shown}
          query={query}
          sort={(by) => show({ ...query, ...by })}
          selected={current?.id ?? null}
          picked={picked.map(({ id }) => id)}
          pick={pick}
          act={may ? act : null}
          more={jobs.more}
        />
      )}
      {jobs.empty && isSought && <p className="faint">No matching jobs.</p>}
      {jobs.more && <p className="faint">Scroll down to load more.</p>}
      {edited && (
        <EditJob
          job={edited}
          changed={jobs.changed}
          archive={() => actions.archive([edited], !edited.graft.archived)}
          remove={isOver(edited) ? () => actions.remove([edited]) : null}
          close={() => setEdited(null)}
        />
      )}
    </main>
  );
}

/** Shows another query. The address changes, without a new entry in the history. */
function useShow() {
  const navigate = useNavigate();
  return (query: JobQuery) =>
    void navigate({ href: pathOf(query), replace: true, resetScroll: false });
}

/** Job that keyboard shortcuts act on. */
function useCurrent(shown: readonly JobObject[], pick: (job: JobObject) => void) {
  const navigate = useNavigate();
  const [selected, setSelected] = useState<string | null>(null);
  // Stored by id, so that new jobs at the top do not change the selection.
  const chosen = Math.max(
    0,
    shown.findIndex((job) => job.id === selected),
  );
  const current = shown[chosen];
  const move = (by: number) =>
    setSelected(shown[Math.max(0, Math.min(shown.length - 1, chosen + by))]?.id ?? null);
  const open = () => current && void navigate({ to: '/jobs/$id', params: { id: current.id } });
  useKeys({
    x: () => current && pick(current),
    j: () => move(1),
    k: () => move(-1),
    Enter: open,
  });
  return { current, open };
}

interface BarProps {
  readonly query: JobQuery;
  readonly jobs: JobList;
  readonly views: JobViews;
  readonly open: () => void;
  readonly isSought: boolean;
}

/** Search, filters, views and columns. */
function Bar({ query, jobs, views, open, isSought }: BarProps) {
  const search = useRef<HTMLInputElement>(null);
  const show = useShow();
  const change = (part: Partial<JobQuery>) => show({ ...query, ...part });
  // The field changes immediately, the address after a pause.
  const [typedSearch, setTypedSearch] = useState(query.search);
  useEffect(() => {
    if (document.activeElement !== search.current) setTypedSearch(query.search);
  }, [query.search]);
  useKeys({ '/': () => search.current?.focus() });
  const typed = (event: KeyboardEvent) => {
    if (event.key === 'Enter') open();
    if (event.key === 'Escape') search.current?.blur();
  };
  return (
    <div className="bar filters">
      <input
        ref={search}
        type="search"
        aria-label="Search jobs"
        placeholder="Search: name, state, model, error…"
        value={typedSearch}
        onKeyDown={typed}
        onChange={(e) => {
          setTypedSearch(e.target.value);
          change({ search: e.target.value });
        }}
      />
      <JobFilters query={query} change={change} jobs={jobs.list} />
      {isSought && (
        <span className="faint">
          {jobs.list.length}
          {jobs.more && '+'} found
        </span>
      )}
      <span className="grow" />
      <ViewMenu views={views} path={pathOf(query)} />
      <ColumnMenu {...views} />
      <NewJob />
    </div>
  );
}

function Strip({ overview }: { overview: OverviewObject | null }) {
  if (!overview) return null;
  const cells: [string, string | number][] = [
    ['running', overview.jobs['running'] ?? 0],
    ['queued', overview.jobs['queued'] ?? 0],
    ['failed, last 24 h', overview.failed_24h],
    ['workers', overview.workers_online],
    ['slots busy', `${overview.slots_busy}/${overview.slots}`],
    ['queue backend', overview.queue_backend === 'redis' ? 'Redis' : 'PostgreSQL'],
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
    <Link className="button main" to="/new">
      New job
    </Link>
  );
}

/** Empty state. The commands work as shown, except for the name of the data file. */
function Empty() {
  const may = useMay();
  const isAllowed = may('models:read');
  const models = useLoaded(['models', isAllowed], async () =>
    isAllowed ? (await api.models()).data : [],
  );
  const base = models.value?.find((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
  return (
    <div className="card">
      <h2>No jobs yet</h2>
      <p>
        A job trains an adapter on your data. When it finishes, chat with it, download it or serve
        it. Create a job with the form, using your own data or a small sample, or from the command
        line:
      </p>
      <pre>
        {!base && 'npx graft models import hub:HuggingFaceTB/SmolLM2-135M-Instruct\n'}
        {`npx graft submit --model ${base?.id ?? 'HuggingFaceTB/SmolLM2-135M-Instruct'} --train yours.jsonl --watch`}
      </pre>
      <NewJob />
    </div>
  );
}
