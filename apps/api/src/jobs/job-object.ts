import type {
  CreateJob,
  JobAttempt,
  JobGraft,
  JobObject,
  JobPreviewObject,
  Spec,
} from '@graft/contracts';
import type { Attempt, Job } from '../database/entities/job.js';
import { unix, unixOrNull } from '../ids.js';

/** An attempt and what the database's clock says of it. */
export interface TimedAttempt extends Attempt {
  /** From its first step's beginning to its end, or until now. */
  readonly seconds: number;
  /** Seconds since its worker was heard, while it lasts and the worker is known. */
  readonly silent: number | null;
}

/**
 * A job as the API shows it. Ownership (epoch, lease) and storage stay inside. A worker that was not heard for
 * `silentAfter` seconds is called silent.
 */
export function jobObject(
  job: Job,
  attempts: readonly TimedAttempt[],
  silentAfter: number,
): JobObject {
  const hyperparameters = resolvedNumbers(job.request, job.spec);
  const graft = graftFields(job, attempts, silentAfter);
  const eta = graft.progress.eta_seconds;
  return {
    object: 'fine_tuning.job',
    id: job.id,
    created_at: unix(job.created_at),
    finished_at: unixOrNull(job.finished_at),
    model: job.model,
    fine_tuned_model: job.fine_tuned_model,
    organization_id: job.project_id,
    status: job.state,
    hyperparameters,
    method: { type: 'supervised', supervised: { hyperparameters } },
    training_file: job.training_file,
    validation_file: job.validation_file,
    result_files: job.result_files,
    trained_tokens: job.trained_tokens,
    error: job.error,
    seed: job.spec.seed,
    estimated_finish: eta === null ? null : Math.round(Date.now() / 1000 + eta),
    integrations: null,
    metadata: job.metadata,
    user_provided_suffix: job.suffix,
    peft: job.spec.peft,
    graft,
  };
}

/** OpenAI's numbers with every "auto" resolved; the multiplier is in the rate already. */
export function resolvedNumbers(
  request: Pick<CreateJob, 'hyperparameters' | 'method'>,
  spec: Spec,
): JobPreviewObject['hyperparameters'] {
  const asked = request.method?.supervised?.hyperparameters ?? request.hyperparameters ?? {};
  return {
    batch_size: spec.batch_size,
    learning_rate_multiplier: asked.learning_rate_multiplier ?? 'auto',
    n_epochs: spec.n_epochs,
  };
}

/** Options that a user may set under `graft`, echoed with what they resolved to. */
const ECHOED = [
  'task',
  'learning_rate',
  'lr_schedule',
  'warmup_ratio',
  'optimizer',
  'weight_decay',
  'max_grad_norm',
  'gradient_accumulation_steps',
  'max_seq_len',
  'max_steps',
  'shuffle',
  'eval_steps',
  'save_steps',
  'base_dtype',
  'quantization',
] as const;

export const echoed = (spec: Spec): Record<string, unknown> =>
  Object.fromEntries(ECHOED.map((name) => [name, spec[name]]));

function graftFields(job: Job, attempts: readonly TimedAttempt[], silentAfter: number): JobGraft {
  const running = job.state === 'running';
  const options = (job.request['graft'] ?? {}) as Record<string, unknown>;
  const heard = running ? (attempts.at(-1)?.silent ?? null) : null;
  const silent = heard !== null && heard >= silentAfter ? Math.round(heard) : null;
  const left = job.total_steps === null ? null : Math.max(0, job.total_steps - job.step);
  return {
    ...options,
    ...echoed(job.spec),
    phase: {
      code: job.phase_code,
      message: silent === null ? job.phase_message : silence(silent),
    },
    progress: {
      step: job.step,
      total_steps: job.total_steps,
      tokens_per_second: running ? job.tokens_per_second : null,
      eta_seconds:
        running && left !== null && job.seconds_per_step !== null
          ? left * job.seconds_per_step
          : null,
    },
    attempts: attempts.map(attemptObject),
    training_seconds: tenths(attempts.reduce((sum, { seconds }) => sum + seconds, 0)),
    worker_silent_seconds: silent,
    started_at: unixOrNull(job.started_at),
    pool: job.pool,
    priority: job.priority,
    trainable_parameters: job.trainable_parameters,
    total_parameters: job.total_parameters,
    train_loss: finite(job.train_loss),
    valid_loss: finite(job.valid_loss),
    sparkline: job.sparkline.values,
    best: job.best,
    warnings: job.warnings,
    data: job.data,
  };
}

const silence = (seconds: number): string =>
  `Its worker has been silent for ${seconds} s; if it stays so, the job goes on elsewhere from its last checkpoint`;

const tenths = (value: number): number => Math.round(value * 10) / 10;

function attemptObject(attempt: Attempt): JobAttempt {
  return {
    epoch: attempt.epoch,
    worker: attempt.worker_name,
    started_at: unixOrNull(attempt.started_at ?? attempt.assigned_at),
    ended_at: unixOrNull(attempt.ended_at),
    outcome: attempt.outcome,
    from_step: attempt.from_step,
  };
}

/** JSON has no NaN: a loss that is not finite is shown as null. */
export const finite = (value: number | null): number | null =>
  value !== null && Number.isFinite(value) ? value : null;
