import type { CatalogTask, JobObject } from '@graft/contracts';
import { kindOf } from '@graft/contracts/job-kinds';
import { EventLog } from '../job/event-log.js';
import { Checkpoints } from '../job/job-checkpoints.js';
import { checkpointPins } from '../job/checkpoint-pins.js';
import { JobCharts } from '../job/job-charts.js';
import { JobConfusion } from '../job/confusion/job-confusion.js';
import type { JobData } from '../job/job-data.js';
import { JobDataReport } from '../job/job-data-report.js';
import { JobReplay } from '../job/replay/job-replay.js';
import { JobReceipt } from '../job/job-receipt.js';
import { JobLedger } from '../job/ledger/job-ledger.js';
import { JobSamples } from '../job/job-samples.js';
import { SpecView } from '../job/job-spec.js';
import { isOver } from '../job/job-text.js';
import { JobTimeline } from '../job/timeline/job-timeline.js';
import { FixBar } from '../job-fixes/fix-bar.js';
import { RowFixes } from '../job-fixes/row-fixes.js';
import { useMay } from '../api/own-key.js';
import { Tabs } from '../ui/tabs.js';

const TABS = [
  'Charts',
  'Labels',
  'Examples',
  'Samples',
  'Replay',
  'Checkpoints',
  'Timeline',
  'Data',
  'Log',
  'Settings',
  'Receipt',
] as const;
export type Tab = (typeof TABS)[number];

/** Former names of tabs, in links that people kept. */
const FORMER: Readonly<Record<string, Tab>> = { attempts: 'Timeline', spec: 'Settings' };

/** Tabs of operations on adapters, which train nothing. */
const OPERATION_TABS: readonly Tab[] = ['Log', 'Timeline', 'Settings', 'Receipt'];

interface Props {
  readonly data: JobData;
  /** Undefined while the tasks load. */
  readonly task: CatalogTask | undefined;
  readonly isTaskLoaded: boolean;
  /** Tab in the address. */
  readonly tab: string | null;
  readonly setTab: (name: Tab) => void;
  readonly onError: (error: Error) => void;
  /** Starts an identical job. Null for operations. */
  readonly startTwin: (() => Promise<JobObject | null>) | null;
}

/** Parts of a job's page as tabs. */
export function JobSections(props: Props) {
  const { data, task, tab, setTab } = props;
  const open = openTab(tab, data, task);
  const mayFix = useMay()('files:read', 'files:write');
  const { job, checkpoints } = data;
  return (
    <RowFixes file={mayFix ? (job.training_file ?? null) : null} labels={labelsOf(job)}>
      <Tabs
        label="Job sections"
        names={TABS.filter((name) => isThere(name, data, task))}
        open={open}
        choose={setTab}
        note={(name) => <TabNote tab={name} data={data} />}
      >
        <OpenTab {...props} open={open} />
      </Tabs>
      <FixBar job={job} from={startOf(job, checkpoints)} />
    </RowFixes>
  );
}

interface OpenTabProps extends Props {
  readonly open: Tab;
}

function OpenTab({ data, task, isTaskLoaded, onError, startTwin, open }: OpenTabProps) {
  const { job, metrics, checkpoints: rows, log } = data;
  const { evaluations } = metrics;
  const saved = { rows, evaluations, job, use: task?.use ?? 'chat', onError } as const;
  switch (open) {
    case 'Charts':
      return (
        <JobCharts
          metrics={metrics}
          described={isTaskLoaded ? (task?.metrics.step ?? []) : null}
          over={isOver(job)}
          pins={checkpointPins(saved)}
        />
      );
    case 'Labels':
      return <JobConfusion job={job} evaluations={evaluations} />;
    case 'Examples':
      return <JobLedger job={job} log={log} />;
    case 'Samples':
      return <JobSamples job={job} log={log} />;
    case 'Replay':
      return <JobReplay job={job} checkpoints={rows} use={replayed(task) ?? 'chat'} />;
    case 'Checkpoints':
      return <Checkpoints {...saved} />;
    case 'Timeline':
      return <JobTimeline job={job} onError={onError} />;
    case 'Data':
      return <JobDataReport job={job} />;
    case 'Log':
      return <EventLog events={log} />;
    case 'Settings':
      return <SpecView job={job} />;
    case 'Receipt':
      return <JobReceipt job={job} startTwin={startTwin} />;
  }
}

/** Returns the labels of a classification job. */
function labelsOf({ graft }: JobObject): readonly string[] {
  const { labels } = (graft.task_options ?? {}) as { labels?: unknown };
  return Array.isArray(labels) ? labels.filter((one) => typeof one === 'string') : [];
}

/** Returns the model that a run on corrected rows continues: the published one, or the newest checkpoint. */
function startOf(job: JobObject, checkpoints: JobData['checkpoints']) {
  const step = job.graft.published_step;
  if (job.fine_tuned_model !== null && step !== null) return { model: job.fine_tuned_model, step };
  const newest = checkpoints.find(({ graft, step_number: at }) => graft.usable && at > 0);
  return newest ? { model: newest.fine_tuned_model_checkpoint, step: newest.step_number } : null;
}

/** Whether a tab is meaningless for operations on adapters. */
const isForOthers = (tab: Tab, job: JobObject): boolean =>
  kindOf(job) !== 'training' && !OPERATION_TABS.includes(tab);

/** Returns the tab in the address, if the job has it. */
function openTab(tab: string | null, data: JobData, task: CatalogTask | undefined): Tab {
  const { job } = data;
  const requested = FORMER[tab ?? ''] ?? TABS.find((name) => name.toLowerCase() === tab);
  if (requested !== undefined && isThere(requested, data, task)) return requested;
  return job.status === 'failed' || kindOf(job) !== 'training' ? 'Log' : 'Charts';
}

/** Tasks whose models need more than a text, or return more than labels. */
const NOT_REPLAYED: readonly string[] = ['token_cls', 'question_ans'];

/** Returns how checkpoints of the task answer a text; null if they do not. */
function replayed(task: CatalogTask | undefined): 'chat' | 'classify' | null {
  if (task?.inputs !== 'tokens' || NOT_REPLAYED.includes(task.name)) return null;
  return task.use === 'chat' || task.use === 'classify' ? task.use : null;
}

/** Whether the job has data for a tab. The Labels tab requires single-label classification. */
function isThere(tab: Tab, { job, metrics }: JobData, task: CatalogTask | undefined): boolean {
  const { graft } = job;
  if (isForOthers(tab, job)) return false;
  if (tab === 'Samples') return graft.sample_prompts !== undefined;
  if (tab === 'Replay') return job.peft !== null && replayed(task) !== null;
  if (tab === 'Examples') return Boolean(graft.loss_ledger || graft.loss_ledger_epochs);
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
