import type { JobObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import { duration } from '@graft/contracts/duration';

export function Progress({ job }: { job: JobObject }) {
  const { step, total_steps: total, eta_seconds: eta } = job.graft.progress;
  // A failed job's error is shown elsewhere, and operations on adapters have no steps.
  if (total === null || job.graft.operation)
    return (
      <span className="faint">
        {TERMINAL_STATUSES.includes(job.status) ? '–' : job.graft.phase.message}
      </span>
    );
  return (
    <span className="progress">
      <progress value={step} max={total} aria-label={`step ${step} of ${total}`} />
      <span className="numbers">
        {step}/{total}
        {job.status === 'running' && eta !== null && eta >= 1 && (
          <span className="faint"> {duration(eta)} left</span>
        )}
      </span>
    </span>
  );
}
