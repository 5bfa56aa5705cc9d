import type { JobObject } from '@graft/contracts';
import { operationTitle } from '@graft/contracts/job-kinds';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import { api } from '../api/api.js';
import { archive } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Button } from '../ui/controls/button.js';
import { Link } from '../ui/link.js';
import { StateDot } from '../ui/state-pill.js';

/** Polling interval while an operation runs. */
const PULSE_MS = 2000;

const KINDS = ['export', 'merge', 'convert', 'combine'];

const isOver = ({ status }: JobObject): boolean => TERMINAL_STATUSES.includes(status);

/** Loads the operations on a model, newest first. */
export function useOperations(model: string) {
  return useLoaded(
    ['operations-of', model],
    async () => {
      const pages = await Promise.all(
        KINDS.map((kind) => api.jobs(new URLSearchParams({ kind, order: 'desc' }))),
      );
      return pages
        .flatMap(({ data }) => data)
        .filter(({ graft }) => graft.operation?.adapters.includes(model))
        .sort((a, b) => b.created_at - a.created_at);
    },
    (jobs) => (jobs?.some((job) => !isOver(job)) ? PULSE_MS : 0),
  );
}

interface Props {
  readonly jobs: readonly JobObject[];
  readonly onError: (error: Error) => void;
}

/** Exports, merges and conversions of a model with their progress, and their files once they are done. */
export function ModelExports({ jobs, onError }: Props) {
  const may = useMay();
  if (jobs.length === 0) return null;
  return (
    <ul className="exports" aria-label="Exports of this model">
      {jobs.map((job) => {
        const made = job.fine_tuned_model;
        const title = job.graft.operation ? operationTitle(job.graft.operation) : job.graft.name;
        return (
          <li key={job.id}>
            <Link to="/jobs/$id" params={{ id: job.id }} className="grow">
              {title}
            </Link>
            {isOver(job) ? (
              <StateDot status={job.status} />
            ) : (
              <span className="progress" role="status">
                <progress aria-label={`${title} in progress`} /> {job.graft.phase.message}
              </span>
            )}
            {made !== null && may('files:read') && (
              <Button
                size="s"
                aria-label={`Download ${title}`}
                onClick={() => archive(made).catch(onError)}
              >
                Download
              </Button>
            )}
            {job.error && <p className="bad">{job.error.message}</p>}
          </li>
        );
      })}
    </ul>
  );
}
