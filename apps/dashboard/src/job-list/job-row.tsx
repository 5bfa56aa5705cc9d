import type { JobObject } from '@graft/contracts';
import { ChevronDown, ChevronRight, CornerDownRight, Ellipsis } from 'lucide-react';
import { memo } from 'react';
import { ago, methodName } from '../format.js';
import { jobName } from '../job/job-text.js';
import type { Fitted } from './column-widths.js';
import { COLUMNS } from './job-columns.js';
import { JobName } from './job-name.js';
import type { GroupLine, JobLine } from './job-rows.js';
import { resultOf } from './job-words.js';

/** Actions of all rows. They stay the same while the list changes, so that rows are not rendered again. */
export interface RowActs {
  readonly pick: (job: JobObject) => void;
  /** Opens the menu of a job next to its button. */
  readonly menu: (job: JobObject, button: Element) => void;
  /** Opens or closes a group. */
  readonly toggle: (key: string) => void;
}

interface RowProps {
  readonly index: number;
  readonly columns: readonly Fitted[];
  readonly isSelected: boolean;
  readonly acts: RowActs;
}

interface JobRowProps extends RowProps {
  readonly line: JobLine;
  readonly isPicked: boolean;
  /** Whether the row has two lines in one cell, on a phone. */
  readonly isNarrow: boolean;
  /** Changes when ages should be written again. */
  readonly now: number;
}

/** Whether two rows of a virtualized list look the same. The line is new after each change of the list. */
const isSame = (a: JobRowProps, b: JobRowProps): boolean =>
  a.line.job === b.line.job &&
  a.line.isNested === b.line.isNested &&
  a.index === b.index &&
  a.columns === b.columns &&
  a.isSelected === b.isSelected &&
  a.isPicked === b.isPicked &&
  a.isNarrow === b.isNarrow &&
  a.acts === b.acts &&
  a.now === b.now;

export const JobRow = memo(function JobRow(props: JobRowProps) {
  const { line, index, columns, isSelected, isPicked, isNarrow, acts } = props;
  const { job, isNested } = line;
  return (
    <tr
      aria-rowindex={index + 2}
      className={`job-row ${isSelected ? 'selected' : ''} ${isPicked ? 'picked' : ''}`}
      aria-current={isSelected || undefined}
    >
      <td className="pick">
        <input
          type="checkbox"
          aria-label={`Select ${jobName(job)}`}
          checked={isPicked}
          onChange={() => acts.pick(job)}
        />
      </td>
      {isNarrow ? (
        <td data-label="Job">
          <CompactJob job={job} isNested={isNested} />
        </td>
      ) : (
        columns.map(({ id }) => {
          const column = COLUMNS[id];
          return (
            <td key={id} data-label={column?.title} className={column?.isNumber && 'numbers'}>
              {id === 'name' && isNested ? <Nested job={job} /> : column?.cell(job)}
            </td>
          );
        })
      )}
      <td className="act">
        <button
          type="button"
          className="quiet icon small"
          aria-label={`Actions for ${jobName(job)}`}
          aria-haspopup="menu"
          onClick={(event) => acts.menu(job, event.currentTarget)}
        >
          <Ellipsis />
        </button>
      </td>
    </tr>
  );
}, isSame);

/** An operation beneath the job that trained its adapter. */
const Nested = ({ job }: { job: JobObject }) => (
  <span className="nested">
    <CornerDownRight aria-hidden="true" />
    <JobName job={job} isNested />
  </span>
);

/** A job in two lines, for phones: name and result, state and time. */
function CompactJob({ job, isNested }: { job: JobObject; isNested: boolean }) {
  const result = resultOf(job);
  return (
    <span className="compact-job">
      {isNested ? <Nested job={job} /> : <JobName job={job} />}
      <span className="numbers" title={result?.title}>
        {result && (
          <>
            <b>{result.value}</b> <span className="faint">{result.name}</span>
          </>
        )}
      </span>
      <span className="compact-state">
        {COLUMNS['status']?.cell(job)}
        <span className="faint">{methodName(job)}</span>
      </span>
      <span className="faint numbers">{ago(job.created_at)}</span>
    </span>
  );
}

interface GroupRowProps extends RowProps {
  readonly line: GroupLine;
  /** Number of columns of the table. */
  readonly span: number;
  /** Whether all jobs are loaded. Otherwise the group may have more. */
  readonly isComplete: boolean;
}

/** Heading of a group, which opens and closes it. */
export function GroupRow({ line, index, span, isSelected, acts, isComplete }: GroupRowProps) {
  const { name, jobs, running, failed, best, isOpen, key } = line;
  const Chevron = isOpen ? ChevronDown : ChevronRight;
  return (
    <tr aria-rowindex={index + 2} className={`group-row ${isSelected ? 'selected' : ''}`}>
      <td colSpan={span}>
        <span className="group-head">
          <button
            type="button"
            className="quiet small"
            aria-expanded={isOpen}
            onClick={() => acts.toggle(key)}
          >
            <Chevron aria-hidden="true" />
            {name}
          </button>
          <span className="faint">
            {jobs.length}
            {isComplete ? '' : '+'} {jobs.length === 1 ? 'job' : 'jobs'}
          </span>
          {running > 0 && <span className="live">{running} running</span>}
          {failed > 0 && <span className="bad">{failed} failed</span>}
          {best && (
            <span>
              best <b>{best.value}</b> <span className="faint">{best.name}</span>
            </span>
          )}
        </span>
      </td>
    </tr>
  );
}
