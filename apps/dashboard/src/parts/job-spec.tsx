import type { JobObject } from '@graft/contracts';
import { CopyButton } from './copy-button.js';

/** Fields of a job's `graft` that say how it goes, not how it was asked for. */
const STATE = [
  'phase',
  'progress',
  'attempts',
  'started_at',
  'trainable_parameters',
  'total_parameters',
  'train_loss',
  'valid_loss',
  'sparkline',
  'data',
  'best',
  'training_seconds',
  'worker_silent_seconds',
  'warnings',
];

/** The create call that would make this job again. */
export function createBody(job: JobObject): Record<string, unknown> {
  const asked = Object.entries(job.graft).filter(
    ([name, value]) => !STATE.includes(name) && value !== null,
  );
  return {
    model: job.model,
    training_file: job.training_file,
    ...(job.validation_file && { validation_file: job.validation_file }),
    ...(job.user_provided_suffix && { suffix: job.user_provided_suffix }),
    seed: job.seed,
    method: job.method,
    peft: job.peft,
    graft: Object.fromEntries(asked),
    ...(job.metadata && { metadata: job.metadata }),
  };
}

export function SpecView({ job }: { job: JobObject }) {
  const text = JSON.stringify(createBody(job), null, 2);
  return (
    <>
      <p className="bar">
        <CopyButton text={text} label="Copy the body" />
        <span className="faint">
          The body of POST /v1/fine_tuning/jobs that makes this job again.
        </span>
      </p>
      <pre className="spec" tabIndex={0} role="region" aria-label="The body of the request">
        {text}
      </pre>
    </>
  );
}
