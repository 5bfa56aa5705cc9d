import type { PoolQueueObject, PoolWaitingJob } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { ArrowUpToLine } from 'lucide-react';
import { Button } from '../ui/controls/button.js';
import { ganttOf, type GanttRow, type Span } from './gantt-layout.js';
import { JobName } from './pool-queue-list.js';
import { about, jobTitle, rangeText, startText } from './queue-text.js';

interface Props {
  readonly queue: PoolQueueObject;
  /** Null if the key may not change jobs. */
  readonly move: ((job: PoolWaitingJob) => void) | null;
}

/**
 * Running and waiting jobs of a pool over the next hours. It is a table whose cells contain the bars, so that
 * screen readers and keyboards reach everything that the chart shows.
 */
export function QueueGantt({ queue, move }: Props) {
  const { ticks, length, rows } = ganttOf(queue);
  if (rows.length === 0)
    return <p className="lane-empty faint">Nothing runs and nothing waits in this pool.</p>;
  return (
    <div className="gantt-box">
      <table className="gantt" aria-label={`Timeline of pool ${queue.id}`}>
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">
              <span className="unseen">Time</span>
              <span className="gantt-axis" aria-hidden="true">
                {ticks.map((at) => (
                  <span key={at} style={{ left: percent(at / length) }}>
                    {at === 0 ? 'now' : `+${duration(at)}`}
                  </span>
                ))}
              </span>
            </th>
            <th scope="col">Forecast</th>
            {move && (
              <th scope="col">
                <span className="unseen">Actions</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, n) => (
            <GanttLine key={row.job.id ?? `other ${n}`} row={row} queue={queue} move={move} />
          ))}
        </tbody>
      </table>
      <p className="gantt-legend faint" aria-hidden="true">
        <span className="swatch running" /> runs until <span className="swatch waiting" /> expected
        to run <span className="swatch range" /> may start
      </p>
    </div>
  );
}

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;
const box = ({ from, to }: Span) => ({ left: percent(from), width: percent(to - from) });

function GanttLine({ row, queue, move }: Props & { row: GanttRow }) {
  const { job, isRunning, bar, isOpen, range } = row;
  return (
    <tr>
      <th scope="row">
        <JobName job={job} />
      </th>
      <td>
        <span className="gantt-track" aria-hidden="true">
          {range && <span className="gantt-range" style={box(range)} />}
          {bar && (
            <span
              className={`gantt-bar ${isRunning ? 'running' : 'waiting'} ${isOpen ? 'open' : ''}`}
              style={box(bar)}
            />
          )}
        </span>
      </td>
      <td className="numbers">{forecastText(row, queue.at)}</td>
      {move && (
        <td className="actions">
          {'position' in job && job.id !== null && job.position !== null && job.position > 1 && (
            <Button
              size="s"
              variant="ghost"
              icon={<ArrowUpToLine />}
              aria-label={`Move to front: ${jobTitle(job)}`}
              onClick={() => move(job)}
            >
              Move to front
            </Button>
          )}
        </td>
      )}
    </tr>
  );
}

/** Returns "about 4 min left" or "starts in about 4 min (2 min to 9 min)". */
function forecastText({ job }: GanttRow, now: number): string {
  if ('worker' in job) {
    const end = job.estimated_finish;
    if (end === null) return 'running; end unknown';
    return end - now < 1 ? 'about to finish' : `${about(end - now)} left`;
  }
  const start = startText(job.estimated_start, now);
  if (start === null) return job.position === null ? 'cannot start now' : 'no forecast yet';
  const range = rangeText(job.estimated_start_range, now);
  return range && start !== 'starts right away' ? `${start} (${range})` : start;
}
