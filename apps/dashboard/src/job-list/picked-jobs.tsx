import type { JobObject } from '@graft/contracts';
import { MAX_COMPARED } from '@graft/contracts/compared-jobs';
import { useState } from 'react';
import { isOver } from '../job/job-text.js';
import { tagsOf } from './edit-job.js';
import type { JobActions } from './job-actions.js';
import { Link } from '../ui/link.js';

interface Props {
  readonly picked: readonly JobObject[];
  readonly clear: () => void;
  /** Null if the key cannot change jobs. */
  readonly actions: JobActions | null;
}

/** Whether a job has curves. Operations on adapters have none. */
const canCompare = (job: JobObject): boolean => job.graft.operation === null;

/** Actions on the selected jobs. */
export function PickedJobs({ picked, clear, actions }: Props) {
  const [tags, setTags] = useState('');
  if (picked.length === 0) return null;
  const deleted = picked.some(({ graft }) => graft.restorable_until !== null);
  const archived = picked.every(({ graft }) => graft.archived);
  const over = picked.filter(isOver);
  const then = (work: () => void) => () => {
    work();
    clear();
  };
  return (
    <div className="bar picked" role="group" aria-label="Selected jobs">
      <b>{picked.length} selected</b>
      <button onClick={clear}>Clear</button>
      {!deleted && <Compare jobs={picked.filter(canCompare)} />}
      <span className="grow" />
      {actions && deleted && <button onClick={then(() => actions.restore(picked))}>Restore</button>}
      {actions && !deleted && (
        <>
          <form
            className="bar"
            onSubmit={(event) => {
              event.preventDefault();
              if (tagsOf(tags).length > 0) actions.tag(picked, tagsOf(tags));
              setTags('');
            }}
          >
            <input
              aria-label="Tags to add"
              placeholder="tag, tag"
              value={tags}
              onChange={(e) => setTags(e.target.value)}
            />
            <button disabled={tagsOf(tags).length === 0}>Add tags</button>
          </form>
          <button onClick={then(() => actions.archive(picked, !archived))}>
            {archived ? 'Unarchive' : 'Archive'}
          </button>
          <button
            disabled={over.length === 0}
            title={over.length < picked.length ? 'Only finished jobs are deleted' : undefined}
            onClick={then(() => actions.remove(picked))}
          >
            Delete{over.length > 0 && over.length < picked.length ? ` ${over.length}` : ''}
          </button>
        </>
      )}
    </div>
  );
}

function Compare({ jobs }: { jobs: readonly JobObject[] }) {
  const many = jobs.length > MAX_COMPARED;
  if (jobs.length < 2 || many)
    return (
      <span className="faint" role="status">
        {many
          ? `${jobs.length} selected; at most ${MAX_COMPARED} can be compared`
          : 'Select one more job to compare'}
      </span>
    );
  return (
    <Link className="button" to="/compare" search={{ jobs: jobs.map(({ id }) => id).join() }}>
      Compare {jobs.length} jobs
    </Link>
  );
}
