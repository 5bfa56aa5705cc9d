import type { PoolQueueObject, PoolWaitingJob } from '@graft/contracts';
import { ArrowUpToLine } from 'lucide-react';
import { Link } from '../ui/link.js';
import { ActionMenu } from '../ui/overlays/menu.js';
import { jobTitle, startText } from './queue-text.js';

/** Number of queued jobs that a lane lists. */
const LISTED = 6;

interface Props {
  readonly queue: PoolQueueObject;
  /** Null if the key may not change jobs. */
  readonly move: ((job: PoolWaitingJob) => void) | null;
  readonly isWhole?: boolean;
}

/** Queued jobs of a pool in the order in which they start. */
export function PoolQueueList({ queue, move, isWhole = false }: Props) {
  const shown = isWhole ? queue.waiting : queue.waiting.slice(0, LISTED);
  const rest = queue.queued - shown.length;
  if (queue.queued === 0)
    return (
      <p className="lane-empty faint">
        The queue is empty. New jobs start as soon as a slot is free.
      </p>
    );
  return (
    <ol className="queue" aria-label={`Queue of ${queue.id}`}>
      {shown.map((job, n) => (
        <li key={job.id ?? `other ${n}`}>
          <span className="queue-place numbers">{job.position ?? '–'}</span>
          <span className="queue-job">
            <JobName job={job} />
            <small>{waitText(job, queue.at)}</small>
          </span>
          {move && job.id !== null && job.position !== null && (
            <ActionMenu
              label={`Actions for ${jobTitle(job)}`}
              actions={[
                {
                  label: 'Move to front…',
                  icon: <ArrowUpToLine />,
                  unavailable: job.position === 1 ? 'It is first already' : null,
                  act: () => move(job),
                },
              ]}
            />
          )}
        </li>
      ))}
      {rest > 0 && <li className="faint queue-rest">and {rest} more</li>}
    </ol>
  );
}

/** Name of a job, linked to its page if the key may open it. */
export function JobName({ job }: { job: Pick<PoolWaitingJob, 'id' | 'name' | 'project'> }) {
  if (job.id === null) return <span className="faint">{jobTitle(job)}</span>;
  return (
    <Link to="/jobs/$id" params={{ id: job.id }} className="job-name" title={jobTitle(job)}>
      {jobTitle(job)}
    </Link>
  );
}

/** Returns the start forecast, or what the job waits for. */
function waitText(job: PoolWaitingJob, now: number): string {
  const start = startText(job.estimated_start, now);
  if (start !== null) return start;
  return job.reason ?? (job.position === null ? 'cannot start now' : 'no forecast yet');
}
