import type { JobObject } from '@graft/contracts';
import { Fragment } from 'react';
import { sharedWith, isOver, waitedForOthers } from './job-text.js';
import { Link } from '../ui/link.js';

/** Other jobs in the job's process and their cost in time, or the reason why it has a process to itself. */
export function SharedProcess({ job }: { job: JobObject }) {
  const others = sharedWith(job);
  const waited = waitedForOthers(job);
  const alone = job.graft.alone === true && !isOver(job);
  if (!others && !waited && !alone) return null;
  return (
    <div className="notice" role="group" aria-label="Shared trainer process">
      {alone && (
        <div>
          {job.status === 'running' ? 'This job has' : 'This job will have'} a process to itself,
          because it may have crashed the processes that it shared before. Only its own failures
          count against it now. A new checkpoint lifts this restriction.
        </div>
      )}
      {others && (
        <div>
          This job shares its process with{' '}
          {others.jobs.map((id, i) => (
            <Fragment key={id}>
              {i > 0 && (i === others.jobs.length - 1 && !others.rest ? ' and ' : ', ')}
              <Link to="/jobs/$id" params={{ id }}>
                {id}
              </Link>
            </Fragment>
          ))}
          {others.rest && `${others.jobs.length > 0 ? ' and ' : ''}${others.rest}`}. They take
          turns. Results are unaffected.
        </div>
      )}
      {waited && <div>{waited}.</div>}
    </div>
  );
}
