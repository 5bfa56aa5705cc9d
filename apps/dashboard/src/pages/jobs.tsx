import type { JobObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import {
  lazy,
  Suspense,
  useCallback,
  useMemo,
  useRef,
  useState,
  type Dispatch,
  type SetStateAction,
} from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { useKeys } from '../browser/keyboard.js';
import type { EditedField } from '../job-list/edit-job.js';
import { useJobActions, type JobActions } from '../job-list/job-actions.js';
import { useJobList, type JobList } from '../job-list/job-list.js';
import { isFiltered, pathOf, type JobQuery } from '../job-list/job-query.js';
import type { RowActs } from '../job-list/job-row.js';
import { linesOf, type Line } from '../job-list/job-rows.js';
import { JobTable } from '../job-list/job-table.js';
import { useJobViews } from '../job-list/job-views.js';
import { JobsToolbar } from '../job-list/jobs-toolbar.js';
import { NoJobs } from '../job-list/no-jobs.js';
import { PickedJobs } from '../job-list/picked-jobs.js';
import { sampleFile } from '../new-job/sample.js';
import { StreamLost } from '../shell/contact-banner.js';
import { Button } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';

const RowMenu = lazy(async () => ({
  default: (await import('../job-list/row-menu.js')).RowMenu,
}));
const EditJob = lazy(async () => ({
  default: (await import('../job-list/edit-job.js')).EditJob,
}));
const PeekJob = lazy(async () => ({
  default: (await import('../job-list/peek-job.js')).PeekJob,
}));

/** Menu, dialog or drawer that is open above the list. */
type Above =
  | { readonly kind: 'menu'; readonly job: JobObject; readonly anchor: Element }
  | { readonly kind: 'edit'; readonly job: JobObject; readonly field: EditedField }
  | { readonly kind: 'peek'; readonly job: JobObject }
  | null;

/** List of all jobs. The address holds its filters, order and grouping. */
export function JobsPage({ query }: { query: JobQuery }) {
  const show = useShow();
  const jobs = useJobList(query);
  const views = useJobViews();
  const actions = useJobActions(jobs.changed);
  const isAllowed = useMay()('jobs:write');
  const [picked, setPicked] = useState<readonly JobObject[]>([]);
  const [above, setAbove] = useState<Above>(null);
  const pick = useCallback(
    (job: JobObject) =>
      setPicked((now) =>
        now.some(({ id }) => id === job.id) ? now.filter(({ id }) => id !== job.id) : [...now, job],
      ),
    [],
  );
  const { lines, toggle } = useLines(jobs.list, query);
  const acts = useMemo<RowActs>(
    () => ({ pick, toggle, menu: (job, anchor) => setAbove({ kind: 'menu', job, anchor }) }),
    [pick, toggle],
  );
  const { current, moves, open } = useCurrent(lines, acts, (job) =>
    setAbove({ kind: 'peek', job }),
  );
  const pickedIds = useMemo(() => new Set(picked.map(({ id }) => id)), [picked]);
  const isSought = query.search !== '' || isFiltered(query);
  return (
    <Page title="Jobs" width="full">
      <StreamLost connected={jobs.connected} />
      <Failure error={jobs.error ?? actions.error} />
      {jobs.empty && !isSought ? (
        <NoJobs sample={sampleFile} />
      ) : (
        <div className="job-list">
          <JobsToolbar query={query} show={show} jobs={jobs} views={views} open={open} />
          {jobs.loading && !jobs.error && <Skeleton height={35} rows={12} />}
          {jobs.list.length > 0 && (
            <JobTable
              jobs={jobs.list}
              lines={lines}
              shown={views.columns}
              query={query}
              sort={(by) => show({ ...query, ...by })}
              selected={current?.key ?? null}
              moves={moves}
              picked={pickedIds}
              acts={acts}
              more={jobs.more}
            />
          )}
          {jobs.empty && <NoMatch clear={() => show(unfiltered(query))} />}
          {jobs.more && <p className="faint">Loading more…</p>}
        </div>
      )}
      <PickedJobs
        picked={picked}
        clear={() => setPicked([])}
        actions={isAllowed ? actions : null}
      />
      <Overlays
        above={above}
        setAbove={setAbove}
        jobs={jobs}
        actions={isAllowed ? actions : null}
        pick={pick}
      />
    </Page>
  );
}

interface OverlaysProps {
  readonly above: Above;
  readonly setAbove: Dispatch<SetStateAction<Above>>;
  readonly jobs: JobList;
  /** Null if the key cannot change jobs. */
  readonly actions: JobActions | null;
  readonly pick: (job: JobObject) => void;
}

function Overlays({ above, setAbove, jobs, actions, pick }: OverlaysProps) {
  const close = () => setAbove(null);
  return (
    <Suspense>
      {above?.kind === 'menu' && (
        <RowMenu
          job={above.job}
          anchor={above.anchor}
          actions={actions}
          peek={(job) => setAbove({ kind: 'peek', job })}
          edit={(job, field) => setAbove({ kind: 'edit', job, field })}
          pick={pick}
          close={() => setAbove((now) => (now?.kind === 'menu' ? null : now))}
        />
      )}
      {above?.kind === 'edit' && (
        <EditJob job={above.job} field={above.field} changed={jobs.changed} close={close} />
      )}
      {above?.kind === 'peek' && (
        <PeekJob job={jobs.list.find(({ id }) => id === above.job.id) ?? above.job} close={close} />
      )}
    </Suspense>
  );
}

const unfiltered = (query: JobQuery): JobQuery => ({
  ...query,
  search: '',
  status: '',
  tags: [],
  model: '',
  method: '',
  kind: '',
  shelf: 'listed',
});

const NoMatch = ({ clear }: { clear: () => void }) => (
  <EmptyState
    title="No matching jobs"
    text="No job has all of these words and filters."
    actions={<Button onClick={clear}>Show all jobs</Button>}
  />
);

/** Shows another query. The address changes, without a new entry in the history. */
function useShow() {
  const navigate = useNavigate();
  return (query: JobQuery) =>
    void navigate({ href: pathOf(query), replace: true, resetScroll: false });
}

/** Rows of the table. Sweeps and tags start closed, so that the list fits a screen. */
function useLines(list: readonly JobObject[], { group }: JobQuery) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const toggle = useCallback(
    (key: string) =>
      setToggled(
        (now) => new Set(now.has(key) ? [...now].filter((one) => one !== key) : [...now, key]),
      ),
    [],
  );
  const sweeps = useLoaded(['sweep-names', group], async () =>
    group === 'sweep' ? (await api.sweeps()).data : [],
  );
  const lines = useMemo(() => {
    const names = new Map((sweeps.value ?? []).map(({ id, name }) => [id, name]));
    // Single jobs are listed; sweeps, tags and bases are closed until somebody opens them.
    const isOpen = (key: string) => toggled.has(key) !== key.endsWith(':');
    return linesOf(list, { by: group, isOpen, names });
  }, [list, group, toggled, sweeps.value]);
  return { lines, toggle };
}

/** Row that keyboard shortcuts act on. */
function useCurrent(lines: readonly Line[], acts: RowActs, peek: (job: JobObject) => void) {
  const navigate = useNavigate();
  const [selected, setSelected] = useState<string | null>(null);
  // Stored by key, so that new jobs at the top do not change the selection.
  const chosen = Math.max(
    0,
    lines.findIndex(({ key }) => key === selected),
  );
  const current = lines[chosen];
  const latest = useRef(current);
  latest.current = current;
  const [moves, setMoves] = useState(0);
  const move = (by: number) => {
    setSelected(lines[Math.max(0, Math.min(lines.length - 1, chosen + by))]?.key ?? null);
    setMoves((n) => n + 1);
  };
  const on = (work: (job: JobObject) => void) => () => {
    if (latest.current?.kind === 'group') acts.toggle(latest.current.key);
    else if (latest.current) work(latest.current.job);
  };
  const open = on(({ id }) => void navigate({ to: '/jobs/$id', params: { id } }));
  useKeys({
    x: () => current?.kind === 'job' && acts.pick(current.job),
    j: () => move(1),
    k: () => move(-1),
    Enter: open,
    ' ': on(peek),
  });
  return { current, moves, open };
}
