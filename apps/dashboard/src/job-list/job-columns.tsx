// Columns of the job table: their contents, their widths, and which ones are shown by default.
import type { JobObject } from '@graft/contracts';
import { KIND_NOUNS, kindOf } from '@graft/contracts/job-kinds';
import { baseText } from '@graft/contracts/job-method';
import {
  columnVisibilityFeature,
  createColumnHelper,
  rowSortingFeature,
  tableFeatures,
} from '@tanstack/react-table';
import { age, count, methodName, moment, short } from '../format.js';
import { jobName, silence, timeSpent } from '../job/job-text.js';
import { Ends } from '../ui/ends.js';
import { Link } from '../ui/link.js';
import { Progress } from '../ui/progress.js';
import { Sparkline } from '../charts/sparkline.js';
import { StatePill } from '../ui/state-pill.js';
import { Tip } from '../ui/overlays/tip.js';

export const features = tableFeatures({ columnVisibilityFeature, rowSortingFeature });

const helper = createColumnHelper<typeof features, JobObject>();

interface Shown {
  readonly title: string;
  /** Minimum width in pixels, and the share of the remaining width. */
  readonly min: number;
  readonly grow: number;
  /** Whether it is shown by default. */
  readonly usual?: true;
  readonly className?: string;
  readonly cell: (job: JobObject) => React.ReactNode;
}

const time = (at: number | null) => (at === null ? '–' : <span title={moment(at)}>{age(at)}</span>);

/** Columns by id. The id is the API's name for sorting if it can sort by the column. */
const COLUMNS: Readonly<Record<string, Shown>> = {
  status: {
    title: 'State',
    min: 114,
    grow: 0,
    usual: true,
    cell: (job) => <StatePill status={job.status} />,
  },
  name: { title: 'Job', min: 140, grow: 4, usual: true, cell: (job) => <Name job={job} /> },
  tags: { title: 'Tags', min: 72, grow: 2, usual: true, cell: (job) => <Tags of={job} /> },
  model: {
    title: 'Base',
    min: 88,
    grow: 2,
    usual: true,
    cell: (job) => <span title={baseText(job)}>{baseText(job)}</span>,
  },
  method: {
    title: 'Method',
    min: 76,
    grow: 1,
    usual: true,
    cell: (job) => <Method job={job} />,
  },
  train_loss: {
    title: 'Loss',
    min: 88,
    grow: 2,
    usual: true,
    className: 'numbers',
    cell: ({ graft }) => (
      <>
        <Sparkline values={graft.sparkline} width={44} /> {short(graft.train_loss)}
      </>
    ),
  },
  valid_loss: {
    title: 'Validation',
    min: 76,
    grow: 0.5,
    className: 'numbers',
    cell: ({ graft }) => short(graft.valid_loss),
  },
  best_valid_loss: {
    title: 'Lowest',
    min: 70,
    grow: 0.5,
    className: 'numbers',
    cell: ({ graft: { best } }) =>
      best === null ? '–' : <span title={`at step ${best.step}`}>{short(best.valid_loss)}</span>,
  },
  eval_score: {
    title: 'Score',
    min: 66,
    grow: 0.5,
    className: 'numbers',
    cell: ({ graft: { best_score: best } }) =>
      best === null ? '–' : <span title={`at step ${best.step}`}>{short(best.eval_score)}</span>,
  },
  progress: {
    title: 'Progress',
    min: 112,
    grow: 6,
    usual: true,
    cell: (job) => <Progress job={job} />,
  },
  trained_tokens: {
    title: 'Tokens',
    min: 76,
    grow: 0.5,
    className: 'numbers',
    cell: (job) => (job.trained_tokens === null ? '–' : count(job.trained_tokens)),
  },
  parameters: {
    title: 'Parameters',
    min: 84,
    grow: 0.5,
    className: 'numbers',
    cell: ({ graft: { trainable_parameters: n } }) => (n === null ? '–' : count(n)),
  },
  pool: { title: 'Pool', min: 64, grow: 1, usual: true, cell: ({ graft }) => graft.pool },
  created_at: {
    title: 'Age',
    min: 66,
    grow: 0,
    usual: true,
    className: 'numbers',
    cell: (job) => time(job.created_at),
  },
  finished_at: {
    title: 'Finished',
    min: 74,
    grow: 0,
    className: 'numbers',
    cell: (job) => time(job.finished_at),
  },
  duration: {
    title: 'Duration',
    min: 82,
    grow: 3,
    usual: true,
    cell: (job) => <span title={timeSpent(job) ?? undefined}>{timeSpent(job) ?? '–'}</span>,
  },
  note: {
    title: 'Note',
    min: 110,
    grow: 4,
    cell: ({ graft: { note } }) => <span title={note ?? undefined}>{note}</span>,
  },
  id: { title: 'ID', min: 110, grow: 2, cell: (job) => job.id },
};

/** Columns that the API cannot sort by. */
const UNSORTED = ['tags', 'progress', 'parameters', 'duration', 'note', 'id'];

export const columns = helper.columns(
  Object.entries(COLUMNS).map(([id, { title, cell }]) =>
    helper.accessor((job) => job.id, {
      id,
      header: title,
      cell: ({ row }) => cell(row.original),
      enableSorting: !UNSORTED.includes(id),
      // Numbers and times start with the largest, best or newest; names start alphabetically.
      sortDescFirst: !['name', 'status', 'model', 'method', 'pool', 'train_loss', 'valid_loss', 'best_valid_loss'].includes(id), // prettier-ignore
    }),
  ),
);

export const columnTitle = (id: string): string => COLUMNS[id]?.title ?? '';
export const columnClass = (id: string): string | undefined => COLUMNS[id]?.className;
export const ALL_COLUMNS: readonly string[] = Object.keys(COLUMNS);
export const USUAL_COLUMNS: readonly string[] = ALL_COLUMNS.filter((id) => COLUMNS[id]?.usual);

/** Removes the tags column if no job has tags, unless it is the only one. */
export const withoutEmpty = (ids: readonly string[], jobs: readonly JobObject[]): string[] =>
  ids.filter(
    (id) => id !== 'tags' || ids.length === 1 || jobs.some(({ graft }) => graft.tags.length > 0),
  );

/**
 * Distributes the available width in pixels. If it is too small, each column gets its minimum and
 * the table overflows.
 */
export function columnWidths(ids: readonly string[], available: number): number[] {
  const shown = ids.map((id) => COLUMNS[id] ?? { min: 80, grow: 0 });
  const left = Math.max(0, available - shown.reduce((sum, { min }) => sum + min, 0));
  const shares = shown.reduce((sum, { grow }) => sum + grow, 0);
  return shown.map(({ min, grow }) =>
    Math.floor(min + (shares === 0 ? left / shown.length : (left * grow) / shares)),
  );
}

/** Name of a job, with its error if it failed. */
function Name({ job }: { job: JobObject }) {
  const silent = silence(job);
  return (
    <span className="line">
      <Tip text={jobName(job)}>
        <Link to="/jobs/$id" params={{ id: job.id }} aria-label={jobName(job)}>
          <Ends name={jobName(job)} />
        </Link>
      </Tip>
      {job.error && (
        <span className="faint" title={job.error.message}>
          {job.error.message}
        </span>
      )}
      {silent && (
        <span className="silent" title={silent}>
          <span aria-hidden="true">⚠</span> {silent}
        </span>
      )}
    </span>
  );
}

/** Method of a job. Operations on adapters have none. */
function Method({ job }: { job: JobObject }) {
  const name = methodName(job);
  return job.graft.operation ? (
    <span className="tag" title={name}>
      {KIND_NOUNS[kindOf(job)]}
    </span>
  ) : (
    <span title={name}>{name}</span>
  );
}

function Tags({ of: { graft } }: { of: JobObject }) {
  return (
    <span className="tags" title={graft.tags.join(', ') || undefined}>
      {graft.tags.map((tag) => (
        <span key={tag} className="tag">
          {tag}
        </span>
      ))}
    </span>
  );
}
