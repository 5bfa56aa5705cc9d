import type { JobObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { queuePlace } from './job-text.js';
import { useMay } from '../api/own-key.js';

interface Props {
  readonly job: JobObject;
  readonly changed: (job: JobObject) => void;
  readonly onError: (error: Error | null) => void;
}

/** Reason and duration of the wait, and the priority, which can be changed to move the job in its queue. */
export function JobQueue({ job, changed, onError }: Props) {
  const place = queuePlace(job);
  return (
    <div className="notice">
      <p role="status">
        {job.graft.phase.message}
        {place && <>: {place}</>}.
      </p>
      {useMay()('jobs:write') && <Mover key={job.graft.priority} {...{ job, changed, onError }} />}
    </div>
  );
}

function Mover({ job, changed, onError }: Props) {
  const now = String(job.graft.priority);
  const [typed, setTyped] = useState(now);
  const move = (event: FormEvent) => {
    event.preventDefault();
    onError(null);
    api.changeJob(job.id, { priority: Number(typed) }).then(changed, onError);
  };
  return (
    <form className="bar" onSubmit={move}>
      <label htmlFor="priority">Priority</label>
      <input
        id="priority"
        type="number"
        min={1}
        max={1000}
        required
        value={typed}
        aria-describedby="priority-help"
        onChange={(e) => setTyped(e.target.value)}
      />
      <button disabled={typed === now}>Set priority</button>
      <small id="priority-help" className="faint">
        Jobs with lower numbers run first
      </small>
    </form>
  );
}
