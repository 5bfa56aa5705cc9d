import type { JobObject } from '@graft/contracts';
import { operationLabel } from '@graft/contracts/job-kinds';
import { jobName } from '../job/job-text.js';
import { Ends } from '../ui/ends.js';
import { Link } from '../ui/link.js';
import { lineOf } from './job-words.js';

interface Props {
  readonly job: JobObject;
  /** Whether it is an operation beneath its job, whose name it need not repeat. */
  readonly isNested?: boolean;
}

/** Name and tags of a job, and why it waits, failed or stalls. */
export function JobName({ job, isNested = false }: Props) {
  const line = lineOf(job);
  const name = jobName(job);
  const made = isNested && job.graft.operation ? operationLabel(job.graft.operation) : '';
  return (
    <span className="name-line">
      <Link to="/jobs/$id" params={{ id: job.id }} title={name} aria-label={name}>
        <Ends name={made !== '' && name.endsWith(made) ? made : name} />
      </Link>
      {job.graft.tags.length > 0 && (
        <span className="tags" title={job.graft.tags.join(', ')}>
          {job.graft.tags.map((tag) => (
            <span key={tag} className="tag">
              {tag}
            </span>
          ))}
        </span>
      )}
      {line && (
        <span className={`job-line ${line.tone}`} title={line.title ?? line.text}>
          {line.text}
        </span>
      )}
    </span>
  );
}
