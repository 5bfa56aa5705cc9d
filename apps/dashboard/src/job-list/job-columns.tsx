// Columns of the job table: their contents, the order that sorts by them, and which ones are shown
// by default. column-widths.ts fits them into the available width.
import type { JobObject } from '@graft/contracts';
import { KIND_NOUNS, kindOf } from '@graft/contracts/job-kinds';
import { baseText } from '@graft/contracts/job-method';
import type { JobOrder } from '@graft/contracts/job-orders';
import { LoaderCircle } from 'lucide-react';
import type { ReactNode } from 'react';
import { Sparkline } from '../charts/sparkline.js';
import { ago, count, methodName, moment, short } from '../format.js';
import { jobName, timeSpent } from '../job/job-text.js';
import { Ends } from '../ui/ends.js';
import { StateDot } from '../ui/state-pill.js';
import { JobName } from './job-name.js';
import { lineOf, progressOf, resultOf, tookText } from './job-words.js';

export interface Column {
  readonly title: string;
  /** Order of the API that sorts by it. Null if there is none. */
  readonly order: JobOrder | null;
  /** Whether it is shown by default. */
  readonly isUsual?: true;
  readonly isNumber?: true;
  /** Text that decides its width. Empty if the job has none; a column without any is hidden. */
  readonly text: (job: JobObject) => string;
  /** Pixels next to the text: an icon or a bar. */
  readonly extra?: number;
  /** Pixels that are enough in a narrow window: its content is shortened in the middle. */
  readonly least?: number;
  /** Order in which columns are left out in a narrow window, highest first. None: never. */
  readonly spare?: number;
  readonly cell: (job: JobObject) => ReactNode;
}

const measured = (title: string, order: JobOrder, value: (job: JobObject) => string): Column => ({
  title,
  order,
  isNumber: true,
  spare: 9,
  text: value,
  cell: (job) => value(job) || '–',
});

const time = (title: string, order: JobOrder | null, at: (job: JobObject) => number | null) => ({
  title,
  order,
  isNumber: true as const,
  text: (job: JobObject) => (at(job) === null ? '' : ago(at(job)!)),
  cell: (job: JobObject) => {
    const unix = at(job);
    return unix === null ? '–' : <span title={moment(unix)}>{ago(unix)}</span>;
  },
});

const PROGRESS_BAR = 52;
const TREND = 64;

export const COLUMNS: Readonly<Record<string, Column>> = {
  status: {
    title: 'State',
    order: 'status',
    isUsual: true,
    extra: 22,
    text: (job) => {
      const now = progressOf(job);
      return now ? `${now.percent}  ${now.left ?? job.status}` : job.status;
    },
    cell: (job) => <StateCell job={job} />,
  },
  name: {
    title: 'Job',
    order: 'name',
    isUsual: true,
    extra: 20,
    text: (job) =>
      `${jobName(job)}    ${lineOf(job)?.text ?? ''}${job.graft.tags.map((tag) => `      ${tag}`).join('')}`,
    cell: (job) => <JobName job={job} />,
  },
  result: {
    title: 'Result',
    order: 'best_valid_loss',
    isUsual: true,
    isNumber: true,
    // The value is bold, which is a little wider than measured.
    extra: 8,
    text: (job) => {
      const result = resultOf(job);
      return result ? `${result.value} ${result.name}` : '';
    },
    cell: (job) => <ResultCell job={job} />,
  },
  trend: {
    title: 'Trend',
    order: null,
    isUsual: true,
    spare: 4,
    extra: TREND,
    text: ({ graft }) => (graft.sparkline.length > 1 ? ' ' : ''),
    cell: ({ graft }) => <Sparkline values={graft.sparkline} width={TREND} height={18} />,
  },
  progress: {
    title: 'Progress',
    order: null,
    spare: 1,
    extra: PROGRESS_BAR + 8,
    text: (job) => {
      const now = progressOf(job);
      return now ? `${now.percent} ${now.left ?? ''}` : '';
    },
    cell: (job) => <ProgressCell job={job} />,
  },
  method: {
    title: 'Method',
    order: 'method',
    isUsual: true,
    least: 80,
    text: (job) => methodText(job),
    cell: (job) => <span title={methodName(job)}>{methodText(job)}</span>,
  },
  model: {
    title: 'Base',
    order: 'model',
    isUsual: true,
    least: 110,
    spare: 5,
    text: (job) => (job.graft.operation ? '' : baseText(job)),
    cell: (job) =>
      job.graft.operation ? (
        <span className="faint">–</span>
      ) : (
        <span title={baseText(job)}>
          <Ends name={baseText(job)} />
        </span>
      ),
  },
  train_loss: measured('Training loss', 'train_loss', ({ graft }) => numberText(graft.train_loss)),
  valid_loss: measured('Validation loss', 'valid_loss', ({ graft }) =>
    numberText(graft.valid_loss),
  ),
  best_valid_loss: measured('Lowest validation loss', 'best_valid_loss', ({ graft }) =>
    numberText(graft.best?.valid_loss ?? null),
  ),
  eval_score: measured('Eval score', 'eval_score', ({ graft }) =>
    numberText(graft.best_score?.eval_score ?? null),
  ),
  trained_tokens: measured('Tokens', 'trained_tokens', ({ trained_tokens: n }) =>
    n === null ? '' : count(n),
  ),
  parameters: {
    ...measured('Parameters', 'trained_tokens', ({ graft: { trainable_parameters: n } }) =>
      n === null ? '' : count(n),
    ),
    order: null,
  },
  pool: {
    title: 'Pool',
    order: 'pool',
    spare: 4,
    text: ({ graft: { pool } }) => pool,
    cell: ({ graft: { pool } }) => pool,
  },
  created_at: {
    ...time('Created', 'created_at', (job) => job.created_at),
    isUsual: true,
    spare: 2,
  },
  started_at: { ...time('Started', null, (job) => job.graft.started_at), spare: 3 },
  finished_at: { ...time('Finished', 'finished_at', (job) => job.finished_at), spare: 3 },
  took: {
    title: 'Took',
    order: null,
    isUsual: true,
    isNumber: true,
    spare: 3,
    text: (job) => tookText(job),
    cell: (job) => <span title={timeSpent(job) ?? undefined}>{tookText(job)}</span>,
  },
  note: {
    title: 'Note',
    order: null,
    least: 100,
    spare: 9,
    text: ({ graft: { note } }) => note?.slice(0, 60) ?? '',
    cell: ({ graft: { note } }) => <span title={note ?? undefined}>{note}</span>,
  },
  id: { title: 'ID', order: null, spare: 9, text: ({ id }) => id, cell: ({ id }) => id },
};

const numberText = (value: number | null): string => (value === null ? '' : short(value));

export const ALL_COLUMNS: readonly string[] = Object.keys(COLUMNS);
export const USUAL_COLUMNS: readonly string[] = ALL_COLUMNS.filter((id) => COLUMNS[id]?.isUsual);
export const columnTitle = (id: string): string => COLUMNS[id]?.title ?? '';

/** Orders whose first direction is ascending: names and losses. Numbers and times start with the largest. */
const ASCENDING_FIRST: readonly JobOrder[] = ['name', 'status', 'model', 'method', 'pool', 'train_loss', 'valid_loss', 'best_valid_loss']; // prettier-ignore
export const startsAscending = (order: JobOrder): boolean => ASCENDING_FIRST.includes(order);

/** Method of a job, or the kind of an operation on adapters: "DoRA r 16", "export". */
const methodText = (job: JobObject): string =>
  job.graft.operation ? KIND_NOUNS[kindOf(job)] : methodName(job);

/** State of a job. A running one shows its progress instead of the word. */
function StateCell({ job }: { job: JobObject }) {
  const now = progressOf(job);
  if (!now || job.status !== 'running') return <StateDot status={job.status} />;
  const { step, total_steps: total } = job.graft.progress;
  return (
    <span className="state-dot live state-progress" title={`step ${step} of ${total}`}>
      <LoaderCircle aria-hidden="true" className="ring" />
      <span className="unseen">running</span>
      {now.percent} {now.left && <span className="faint">{now.left}</span>}
      <progress value={step} max={total ?? 1} aria-label={`step ${step} of ${total}`} />
    </span>
  );
}

function ResultCell({ job }: { job: JobObject }) {
  const result = resultOf(job);
  if (!result) return <span className="faint">–</span>;
  return (
    <span title={result.title}>
      <b>{result.value}</b> <span className="faint">{result.name}</span>
    </span>
  );
}

export function ProgressCell({ job }: { job: JobObject }) {
  const now = progressOf(job);
  if (!now) return null;
  const { step, total_steps: total } = job.graft.progress;
  return (
    <span className="row-progress" title={`step ${step} of ${total}`}>
      <progress value={step} max={total ?? 1} aria-label={`step ${step} of ${total}`} />
      {now.percent} {now.left && <span className="faint">{now.left}</span>}
    </span>
  );
}
