import type { JobObject } from '@graft/contracts';
import { useEffect, useState } from 'react';
import { api, ApiError } from '../api.js';
import { isOver, jobName } from '../job-words.js';
import { useKeys } from '../keyboard.js';
import { useLoaded } from '../loading.js';
import { linkTo, replace } from '../navigation.js';
import { useMay } from '../own-key.js';
import { StreamLost } from '../parts/contact-banner.js';
import { EventLog } from '../parts/event-log.js';
import { Failure } from '../parts/failure.js';
import { Attempts } from '../parts/job-attempts.js';
import { JobCharts } from '../parts/job-charts.js';
import { Checkpoints } from '../parts/job-checkpoints.js';
import { JobDataReport } from '../parts/job-data-report.js';
import { JobHeader } from '../parts/job-header.js';
import { Results } from '../parts/job-results.js';
import { SpecView } from '../parts/job-spec.js';
import { Loading } from '../parts/loading.js';
import { Tabs } from '../parts/tabs.js';
import { Warnings } from '../parts/warnings.js';
import { useJob, type JobData } from './job-data.js';

const TABS = ['Charts', 'Log', 'Checkpoints', 'Data', 'Attempts', 'Spec'] as const;
type Tab = (typeof TABS)[number];

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
  const job = data?.job;

  useEffect(() => {
    document.title = pageTitle(job);
    return () => void (document.title = 'Graft');
  }, [job]);

  const act = (action: () => Promise<JobObject>) => {
    setProblem(null);
    return action().then(setJob, setProblem);
  };
  const cancel = () =>
    confirm(
      'Cancel this job? It cannot be resumed. Its saved checkpoints stay: you can download them and chat with them.',
    ) && void act(() => api.cancel(id));
  const setTab = (name: Tab) => replace(`/jobs/${id}?tab=${name.toLowerCase()}`);
  const hold = () => {
    if (job?.status === 'running') void act(() => api.pause(id));
    if (job?.status === 'paused') void act(() => api.resume(id));
  };
  useKeys({
    f: () => setTab('Log'),
    // A pause is not asked about, so that no single key makes one.
    ...(may('jobs:write') && { c: () => job && !isOver(job) && cancel(), P: hold }),
  });

  if (!data || !job) return <NoJob id={id} error={error} />;
  const asked = TABS.find((name) => name.toLowerCase() === tab);
  const open = asked ?? (job.status === 'failed' ? 'Log' : 'Charts');
  return (
    <main>
      <JobHeader job={job} evaluations={data.metrics.evaluations} cancel={cancel} hold={hold} />
      <StreamLost connected={connected || isOver(job)} />
      {job.status === 'queued' && <NobodyThere pool={job.graft.pool} />}
      <Failure error={problem ?? error} />
      <Warnings warnings={job.graft.warnings} />
      {job.error && (
        <p className="notice bad" role="alert">
          <b>{job.error.code}</b> {job.error.param && <code>{job.error.param}</code>}{' '}
          <span className="pre">{job.error.message}</span>
        </p>
      )}
      {job.status === 'succeeded' && <Results job={job} onError={setProblem} />}
      <Tabs
        label="Parts of the job"
        names={TABS}
        open={open}
        choose={setTab}
        beside={(name) => <Beside tab={name} data={data} />}
      >
        {open === 'Charts' && <JobCharts metrics={data.metrics} over={isOver(job)} />}
        {open === 'Log' && <EventLog events={data.log} />}
        {open === 'Checkpoints' && (
          <Checkpoints
            rows={data.checkpoints}
            evaluations={data.metrics.evaluations}
            job={job}
            onError={setProblem}
          />
        )}
        {open === 'Data' && <JobDataReport job={job} />}
        {open === 'Attempts' && <Attempts job={job} />}
        {open === 'Spec' && <SpecView job={job} />}
      </Tabs>
    </main>
  );
}

/** How much there is behind a tab, or that it holds something to know. */
function Beside({ tab, data: { job, checkpoints } }: { tab: Tab; data: JobData }) {
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
      <h1>No such job</h1>
      <p role="alert">
        There is no job <code className="break">{id}</code>, or this key may not see it.
      </p>
      <a {...linkTo('/')}>See the jobs</a>
    </main>
  );
}

/** Says that a queued job waits for a worker that is not there. */
function NobodyThere({ pool }: { pool: string }) {
  const workers = useLoaded(async () => (await api.workers()).data, 5000);
  if (workers.value?.some((one) => one.pool === pool && one.state === 'online') ?? true)
    return null;
  return (
    <p className="notice" role="status">
      No worker of pool {pool} is online: the job waits until one joins.{' '}
      <a {...linkTo('/workers')}>See the workers</a>.
    </p>
  );
}
