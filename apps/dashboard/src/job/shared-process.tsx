import type { JobObject } from '@graft/contracts';
import { Fragment } from 'react';
import { useLoaded } from '../api/loaded.js';
import { api } from '../api/api.js';
import { jobName, sharedWith, isOver, waitedForOthers } from './job-text.js';
import { Link } from '../ui/link.js';

/** Other jobs in the job's process and their cost in time, or the reason why it has a process to itself. */
export function SharedProcess({ job }: { job: JobObject }) {
  const others = sharedWith(job);
  const waited = waitedForOthers(job);
  const alone = job.graft.alone === true && !isOver(job);
  if (!others && !waited && !alone) return null;
  return (
    <span className="faint" role="group" aria-label="Shared trainer process">
      {alone &&
        `${job.status === 'running' ? 'Runs' : 'Will run'} in a process of its own, because it may have crashed those that it shared before. `}
      {others && (
        <>
          Shares its process with{' '}
          {others.jobs.map((id, i) => (
            <Fragment key={id}>
              {i > 0 && (i === others.jobs.length - 1 && !others.rest ? ' and ' : ', ')}
              <JobName id={id} />
            </Fragment>
          ))}
          {others.rest && `${others.jobs.length > 0 ? ' and ' : ''}${others.rest}`}. They take
          turns; results are unaffected.{' '}
        </>
      )}
      {waited && `${waited}.`}
    </span>
  );
}

function JobName({ id }: { id: string }) {
  const { value } = useLoaded(['job', id], () => api.job(id));
  return (
    <Link to="/jobs/$id" params={{ id }}>
      {value ? jobName(value) : '…'}
    </Link>
  );
}
