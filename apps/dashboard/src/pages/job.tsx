import type { CatalogTask, JobObject } from '@graft/contracts';
import { KIND_NOUNS, kindOf } from '@graft/contracts/job-kinds';
import { baseText } from '@graft/contracts/job-method';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { setFavicon, type FaviconState } from '../browser/favicon.js';
import { useKeys } from '../browser/keyboard.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { ago, methodName, moment } from '../format.js';
import { BeforeAfter } from '../job/before-after.js';
import { JobFailure } from '../job/job-failure.js';
import { JobStats, OperationStats } from '../job/job-stats.js';
import { jobCrumbs, JobStatus, useMoveTo } from '../job/job-status.js';
import { canPause, isOver, jobName, sharedWith } from '../job/job-text.js';
import { useJob, type JobData } from '../job/job-data.js';
import { verdict, type Verdict } from '../job/verdict.js';
import { FIXED_HELD_OUT, FIXED_ROWS, FIXES_JOB } from '../job-fixes/retrain.js';
import { JobButtons } from '../job-page/job-buttons.js';
import { JobMenu } from '../job-page/job-menu.js';
import { JobSections, type Tab } from '../job-page/job-sections.js';
import { JobSkeleton } from '../job-page/job-skeleton.js';
import { inPool, UNCHANGED, useRetry } from '../job-page/use-retry.js';
import { StreamLost } from '../shell/contact-banner.js';
import { useModel } from '../models/model-facts.js';
import { UseIt } from '../models/use-it.js';
import { ButtonLink } from '../ui/controls/button.js';
import { EditableTitle } from '../ui/controls/editable-title.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Page } from '../ui/page.js';
import { StatePill } from '../ui/state-pill.js';
import { Warnings } from '../ui/feedback/warnings.js';

const LONGEST_NAME = 128;
/** Metadata that the page shows in words. */
const OWN_METADATA: readonly string[] = [FIXES_JOB, FIXED_ROWS, FIXED_HELD_OUT];
/** Warning that the status line of a waiting job repeats. */
const IN_STATUS = 'pool_never_joined';

const cancelText = (job: JobObject): string =>
  job.graft.operation
    ? `Cancel this ${KIND_NOUNS[kindOf(job)]}? Its output so far is lost.`
    : 'Cancel this job? It cannot be resumed. Saved checkpoints are kept: you can download and use them.';

function interruptText(job: JobObject): string {
  const others = sharedWith(job);
  const shared = others
    ? ' Other jobs in the process are interrupted, too, and resume from their checkpoints.'
    : '';
  return `Pull the plug? This kills the trainer process of the job with SIGKILL, for a demonstration. The job resumes from its newest checkpoint, and its result is the same, byte for byte.${shared}`;
}

export function JobPage({ id, tab }: { id: string; tab: string | null }) {
  const { data, error, connected, setJob } = useJob(id);
  const [problem, setProblem] = useState<Error | null>(null);
  const tasks = useLoaded(['tasks'], api.tasks);
  const job = data?.job;
  useProgressInTab(job);
  const setTab = useTab(id);
  const actions = useActions(id, job, setJob, setProblem);
  const may = useMay();
  useKeys({
    f: () => setTab('Log'),
    // Pausing has no confirmation, so a single key must not trigger it.
    ...(may('jobs:write') && {
      c: () => job && !isOver(job) && actions.cancel(),
      P: actions.hold,
    }),
  });
  if (!data || !job) return <NoJob id={id} error={error} />;
  const task = taskOf(tasks.value, job);
  return (
    <Page
      title={<Title job={job} changed={setJob} />}
      crumbs={jobCrumbs(job)}
      status={<StatePill status={job.status} />}
      subtitle={<Subtitle job={job} />}
      actions={
        <>
          <JobButtons job={job} use={task?.use ?? 'chat'} {...actions} />
          <JobMenu job={job} changed={setJob} interrupt={actions.interrupt} />
        </>
      }
    >
      <StreamLost connected={connected || isOver(job)} />
      <Failure error={problem ?? error ?? tasks.error} />
      <JobStatus job={job} changed={setJob} onError={setProblem} moveTo={actions.moveTo} />
      <JobFailure job={job} log={data.log} />
      <Summary data={data} task={task} />
      <JobSections
        data={data}
        task={task}
        isTaskLoaded={tasks.value !== null}
        tab={tab}
        setTab={setTab}
        onError={setProblem}
        startTwin={job.graft.operation ? null : actions.startTwin}
      />
    </Page>
  );
}

/** Actions on the job that the header and the status line offer. */
function useActions(
  id: string,
  job: JobObject | undefined,
  setJob: (job: JobObject) => void,
  setProblem: (error: Error | null) => void,
) {
  const confirm = useConfirm();
  const retry = useRetry(setProblem);
  const isAdmin = useMay()('admin');
  const act = (action: () => Promise<JobObject>) => {
    setProblem(null);
    return action().then(setJob, setProblem);
  };
  const moveTo = useMoveTo(job, (pool) => {
    if (!job) return;
    void retry(job, inPool(pool)).then((made) => made && api.cancel(id));
  });
  const interrupt = () =>
    job &&
    confirm(interruptText(job), 'Kill the trainer', () =>
      api.interrupt(id, Boolean(sharedWith(job))).catch(setProblem),
    );
  return {
    interrupt: job?.status === 'running' && canPause(job) && isAdmin ? interrupt : null,
    cancel: () => job && confirm(cancelText(job), 'Cancel job', () => act(() => api.cancel(id))),
    hold: () => {
      if (job?.status === 'running' && canPause(job)) void act(() => api.pause(id));
      if (job?.status === 'paused') void act(() => api.resume(id));
    },
    retry: async (fix: Parameters<typeof retry>[1]) => {
      setProblem(null);
      return job ? retry(job, fix) : null;
    },
    moveTo,
    startTwin: async () => (job ? retry(job, UNCHANGED, false) : null),
  };
}

/** Opens a tab. The address changes, without a new entry in the history. */
function useTab(id: string) {
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

function pageTitle(job: JobObject | undefined): string {
  if (!job) return 'Graft';
  const { step, total_steps: total } = job.graft.progress;
  const done = job.status === 'running' && total ? `${Math.round((100 * step) / total)} % ` : '';
  return `${done}${jobName(job)} · ${job.status} · Graft`;
}

const ICONS: Readonly<Partial<Record<JobObject['status'], FaviconState>>> = {
  running: 'running',
  queued: 'waiting',
  paused: 'waiting',
  failed: 'failed',
};

/** Shows state and progress in the title and the icon of the browser's tab. */
function useProgressInTab(job: JobObject | undefined): void {
  const { step = 0, total_steps: total = null } = job?.graft.progress ?? {};
  const title = pageTitle(job);
  const state = job ? (ICONS[job.status] ?? null) : null;
  const done = state === 'failed' ? 1 : total ? step / total : 0;
  useEffect(() => {
    document.title = title;
    setFavicon(state, done);
    return () => {
      document.title = 'Graft';
      setFavicon(null);
    };
  }, [title, state, done]);
}

interface OfJob {
  readonly job: JobObject;
  readonly changed: (job: JobObject) => void;
}

function Title({ job, changed }: OfJob) {
  const may = useMay();
  const save = (name: string) => api.changeJob(job.id, { name }).then(changed);
  return (
    <EditableTitle
      title={jobName(job)}
      label="Name of the job"
      maxLength={LONGEST_NAME}
      save={may('jobs:write') ? save : undefined}
    />
  );
}

/** Method, base, age, tags, note and metadata of a job. */
function Subtitle({ job }: Pick<OfJob, 'job'>) {
  const { operation, tags, note } = job.graft;
  return (
    <div className="job-subtitle">
      <span>{operation ? KIND_NOUNS[kindOf(job)] : `${methodName(job)} on ${baseText(job)}`}</span>
      <span title={moment(job.created_at)}>{ago(job.created_at)}</span>
      {tags.map((tag) => (
        <span key={tag} className="tag">
          {tag}
        </span>
      ))}
      {Object.entries(job.metadata ?? {})
        .filter(([name]) => !OWN_METADATA.includes(name))
        .map(([name, value]) => (
          <span key={name} className="tag">
            {name}: {value}
          </span>
        ))}
      {note !== null && <span className="pre">{note}</span>}
    </div>
  );
}

interface SummaryProps {
  readonly data: JobData;
  readonly task: CatalogTask | undefined;
}

/** The result: figures and the verdict of a run, or the files of an operation. */
function Summary({ data: { job, metrics }, task }: SummaryProps) {
  if (job.graft.operation)
    return (
      <>
        <OperationStats job={job} />
        <Warnings warnings={job.graft.warnings} />
        {job.status === 'succeeded' && <Made job={job} />}
      </>
    );
  return (
    <>
      <JobStats job={job} metrics={metrics} task={task} />
      <BeforeAfter job={job} metrics={metrics} task={task} />
      {job.status !== 'failed' && <VerdictText of={verdict(job, metrics)} />}
      <Warnings warnings={job.graft.warnings.filter(({ code }) => code !== IN_STATUS)} />
    </>
  );
}

/** Summary of the run. It changes with each step and is not announced to screen readers. */
const VerdictText = ({ of }: { of: Verdict | null }) => (
  <p className={of?.isBad ? 'verdict doubtful' : 'verdict'}>{of?.text}</p>
);

/** Result of an operation on adapters. */
function Made({ job }: Pick<OfJob, 'job'>) {
  const may = useMay();
  const model = useModel(job.fine_tuned_model).value;
  if (!model) return null;
  return (
    <section aria-label="Result">
      <UseIt model={model} files={may('files:read') ? job.result_files : []} />
    </section>
  );
}

const taskOf = (
  tasks: readonly CatalogTask[] | null,
  { graft }: JobObject,
): CatalogTask | undefined => tasks?.find(({ name }) => name === graft['task']);

function NoJob({ id, error }: { id: string; error: Error | null }) {
  if (!(error instanceof ApiError) || error.status !== 404)
    return error ? (
      <Page title="Job">
        <Failure error={error} />
      </Page>
    ) : (
      <JobSkeleton />
    );
  return (
    <Page title="Job not found">
      <div role="alert">
        <EmptyState
          title="This job does not exist"
          text={`There is no job ${id}, or this key cannot access it.`}
          actions={
            <ButtonLink to="/" variant="primary">
              Go to jobs
            </ButtonLink>
          }
        />
      </div>
    </Page>
  );
}
