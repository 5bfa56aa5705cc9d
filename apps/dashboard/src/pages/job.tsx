import type { Catalog, CatalogTask, JobObject, ModelUse, PoolObject } from '@graft/contracts';
import { KIND_NOUNS, kindOf } from '@graft/contracts/job-kinds';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { canPause, isOver, jobName } from '../job/job-text.js';
import { useKeys } from '../browser/keyboard.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { verdict, type Verdict } from '../job/verdict.js';
import { StreamLost } from '../shell/contact-banner.js';
import { EventLog } from '../job/event-log.js';
import { Failure } from '../ui/failure.js';
import { Attempts } from '../job/job-attempts.js';
import { JobCharts } from '../job/job-charts.js';
import { Checkpoints } from '../job/job-checkpoints.js';
import { SharedProcess } from '../job/shared-process.js';
import { JobDataReport } from '../job/job-data-report.js';
import { JobHeader } from '../job/job-header.js';
import { Results } from '../job/job-results.js';
import { JobQueue } from '../job/job-queue.js';
import { JobConfusion } from '../job/job-confusion.js';
import { JobSamples } from '../job/job-samples.js';
import { SpecView } from '../job/job-spec.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Tabs } from '../ui/tabs.js';
import { Warnings } from '../ui/warnings.js';
import { useJob, type JobData } from '../job/job-data.js';

const TABS = [
  'Charts',
  'Labels',
  'Log',
  'Samples',
  'Checkpoints',
  'Data',
  'Attempts',
  'Spec',
] as const;
type Tab = (typeof TABS)[number];

/** Tabs of operations on adapters. */
const OPERATION_TABS: readonly Tab[] = ['Log', 'Attempts', 'Spec'];

const cancelText = (job: JobObject): string =>
  job.graft.operation
    ? `Cancel this ${KIND_NOUNS[kindOf(job)]}? Its output so far is lost.`
    : 'Cancel this job? It cannot be resumed. Saved checkpoints are kept: you can download and use them.';

function pageTitle(job: JobObject | undefined): string {
  if (!job) return 'Graft';
  const { step, total_steps: total } = job.graft.progress;
  const done = job.status === 'running' && total ? `${Math.round((100 * step) / total)} % ` : '';
  return `${done}${jobName(job)} · ${job.status} · Graft`;
}

export function JobPage({ id, tab }: { id: string; tab: string | null }) {
  const { data, error, connected, setJob } = useJob(id);
  const [problem, setProblem] = useState<Error | null>(null);
  const may = useMay();
  const catalog = useLoaded(['catalog'], api.catalog);
  const job = data?.job;

  useEffect(() => {
    document.title = pageTitle(job);
    return () => void (document.title = 'Graft');
  }, [job]);

  const act = (action: () => Promise<JobObject>) => {
    setProblem(null);
    return action().then(setJob, setProblem);
  };
  const confirm = useConfirm();
  const cancel = () =>
    job && confirm(cancelText(job), 'Cancel job', () => act(() => api.cancel(id)));
  const setTab = useParts(id);
  const hold = () => {
    if (job?.status === 'running' && canPause(job)) void act(() => api.pause(id));
    if (job?.status === 'paused') void act(() => api.resume(id));
  };
  useKeys({
    f: () => setTab('Log'),
    // Pausing has no confirmation, so a single key must not trigger it.
    ...(may('jobs:write') && { c: () => job && !isOver(job) && cancel(), P: hold }),
  });

  if (!data || !job) return <NoJob id={id} error={error} />;
  const open = openTab(tab, job);
  const task = taskOf(catalog.value, job);
  const use = task?.use ?? 'chat';
  return (
    <main>
      <JobHeader job={job} metrics={data.metrics} cancel={cancel} hold={hold} />
      <StreamLost connected={connected || isOver(job)} />
      <SharedProcess job={job} />
      {job.status === 'queued' && <JobQueue job={job} changed={setJob} onError={setProblem} />}
      {job.status === 'queued' && !isWarnedOfPool(job) && <NoWorkers pool={job.graft.pool} />}
      <Failure error={problem ?? error ?? catalog.error} />
      <VerdictText of={verdict(job, data.metrics)} />
      <Warnings warnings={job.graft.warnings} />
      {job.error && (
        <p className="notice bad" role="alert">
          <b>{job.error.code}</b> {job.error.param && <code>{job.error.param}</code>}{' '}
          <span className="pre">{job.error.message}</span>
        </p>
      )}
      {job.status === 'succeeded' && <Made data={data} use={use} onError={setProblem} />}
      <Tabs
        label="Job sections"
        names={TABS.filter((name) => isThere(name, data))}
        open={open}
        choose={setTab}
        note={(name) => <TabNote tab={name} data={data} />}
      >
        {open === 'Charts' && catalog.value && (
          <JobCharts
            metrics={data.metrics}
            described={task?.metrics.step ?? []}
            over={isOver(job)}
          />
        )}
        {open === 'Log' && <EventLog events={data.log} />}
        {open === 'Labels' && <JobConfusion job={job} evaluations={data.metrics.evaluations} />}
        {open === 'Samples' && <JobSamples job={job} log={data.log} />}
        {open === 'Checkpoints' && (
          <Checkpoints
            use={use}
            rows={data.checkpoints}
            evaluations={data.metrics.evaluations}
            job={job}
            onError={setProblem}
          />
        )}
        {open === 'Data' && <JobDataReport job={job} log={data.log} />}
        {open === 'Attempts' && <Attempts job={job} onError={setProblem} />}
        {open === 'Spec' && <SpecView job={job} />}
      </Tabs>
    </main>
  );
}

/** Opens a tab. The address changes, without a new entry in the history. */
function useParts(id: string) {
  const navigate = useNavigate();
  return (name: Tab) =>
    void navigate({
      to: '/jobs/$id',
      params: { id },
      search: { tab: name.toLowerCase() },
      replace: true,
      resetScroll: false,
    });
}

/** Summary of the run. It changes with each step and is not announced to screen readers. */
const VerdictText = ({ of }: { of: Verdict | null }) =>
  of === null ? null : <p className={of.isBad ? 'verdict doubtful' : 'verdict'}>{of.text}</p>;

interface MadeProps {
  readonly data: JobData;
  readonly use: ModelUse;
  readonly onError: (error: Error) => void;
}

/** Results, in green unless training went wrong or the model is no better than chance. */
const Made = ({ data: { job, metrics }, ...rest }: MadeProps) => (
  <Results job={job} isGood={verdict(job, metrics)?.isBad !== true} {...rest} />
);

const taskOf = (catalog: Catalog | null, { graft }: JobObject): CatalogTask | undefined =>
  catalog?.tasks.find(({ name }) => name === graft['task']);

/** Whether a tab is meaningless for operations on adapters. */
const isForOthers = (tab: Tab, job: JobObject): boolean =>
  kindOf(job) !== 'training' && !OPERATION_TABS.includes(tab);

/** Returns the tab in the address, if the job has it. */
function openTab(tab: string | null, job: JobObject): Tab {
  const requested = TABS.find((name) => name.toLowerCase() === tab);
  if (requested !== undefined && !isForOthers(requested, job)) return requested;
  return job.status === 'failed' || kindOf(job) !== 'training' ? 'Log' : 'Charts';
}

/** Whether the job has data for a tab. The Labels tab requires single-label classification. */
function isThere(tab: Tab, { job, metrics }: JobData): boolean {
  const { graft } = job;
  if (isForOthers(tab, job)) return false;
  if (tab === 'Samples') return graft.sample_prompts !== undefined;
  if (tab !== 'Labels') return true;
  const { problem_type: problem } = (graft.task_options ?? {}) as { problem_type?: unknown };
  return problem === 'single_label_classification' && metrics.evaluations.length > 0;
}

/** Count or warning sign next to a tab's name. */
function TabNote({ tab, data: { job, checkpoints } }: { tab: Tab; data: JobData }) {
  if (tab === 'Checkpoints' && checkpoints.length > 0)
    return <span className="faint"> {checkpoints.length}</span>;
  const warnings = job.graft.data?.warnings.length ?? 0;
  if (tab !== 'Data' || warnings === 0) return null;
  return (
    <span className="silent" title={`${warnings} warning${warnings === 1 ? '' : 's'}`}>
      {' '}
      <span aria-hidden="true">⚠</span>
      <span className="unseen">with warnings</span>
    </span>
  );
}

function NoJob({ id, error }: { id: string; error: Error | null }) {
  if (!(error instanceof ApiError) || error.status !== 404)
    return (
      <main>
        <Failure error={error} />
        <Loading error={error} />
      </main>
    );
  return (
    <main>
      <h1>Job not found</h1>
      <p role="alert">
        There is no job <code className="break">{id}</code>, or this key cannot access it.
      </p>
      <Link to="/">Go to jobs</Link>
    </main>
  );
}

/** Whether a warning already explains that the pool does not exist. */
const isWarnedOfPool = ({ graft }: JobObject): boolean =>
  graft.warnings.some(({ code }) => code === 'pool_never_joined');

/** Explains why no worker takes a queued job, regardless of its position. Null if one may. */
function whyNobody(name: string, pool: PoolObject | null): string | null {
  if (pool?.cordoned) return `Pool ${name} is cordoned: no jobs start until it is uncordoned.`;
  if (pool && pool.workers.online > 0) return null;
  if (pool && pool.workers.cordoned > 0)
    return `Every worker of pool ${name} is cordoned: the job waits until one is uncordoned or joins.`;
  return `No worker of pool ${name} is online: the job waits until one joins.`;
}

/** Loads the pool. Null if it does not exist or this key cannot see it. */
const poolOrNone = async (name: string): Promise<PoolObject | null> =>
  (await api.poolNamed(name)).data[0] ?? null;

/** Notice that a queued job waits for a worker although none is available. */
function NoWorkers({ pool }: { pool: string }) {
  const found = useLoaded(
    ['pool-named', pool],
    async () => ({ pool: await poolOrNone(pool) }),
    5000,
  );
  const why = found.value && whyNobody(pool, found.value.pool);
  if (!why) return null;
  return (
    <p className="notice" role="status">
      {why} <Link to="/cluster">Go to the cluster</Link>.
    </p>
  );
}
