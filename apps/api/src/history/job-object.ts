import {
  BY_DATA,
  hyperparametersOf,
  METHOD_HYPERPARAMETERS,
  TRAINING_OPTIONS,
  type CreateJob,
  type JobAttempt,
  type JobGraft,
  type JobIntegrationObject,
  type JobObject,
  type JobPreviewObject,
  type Spec,
} from '@graft/contracts';
import { POOL_NEVER_JOINED } from '../auth/pools.js';
import { fineTuningMethod } from '../catalog/plugins.js';
import type { IntegrationRun } from '../database/entities/integrations.js';
import type { Attempt, Job } from '../database/entities/job.js';
import { unix, unixOrNull } from '../ids.js';
import { jobName } from './job-name.js';
import { placeFields, type QueuePlace } from './queue-forecasts.js';
import { runsAlone } from '../lifecycle/blame.js';

/** An attempt with durations by the database's clock. */
export interface TimedAttempt extends Attempt {
  /** Seconds from the start of its first step to its end, or until now. */
  readonly seconds: number;
  /** Seconds from its assignment to a worker to its end, or until now. */
  readonly assigned_seconds: number;
  /**
   * Seconds since the last heartbeat of its worker; null if the attempt has ended or the worker is unknown.
   */
  readonly silent: number | null;
  /** The other jobs in the trainer process while the attempt trains. */
  readonly shares_with: JobGraft['shares_with'];
}

/** Settings of the installation that a job's object depends on. */
export interface Times {
  /** Seconds without a heartbeat after which a worker counts as silent. */
  readonly silentAfter: number;
  /** Days for which a deleted job can be restored. */
  readonly restoreDays: number;
}

/** Converts a job to the format of the API. Omits the lease and the storage. */
export function jobObject(
  job: Job,
  attempts: readonly TimedAttempt[],
  times: Times,
  place: QueuePlace | null,
): JobObject {
  const hyperparameters = resolvedNumbers(job.request, job.spec);
  const method = methodObject(hyperparameters, job.spec);
  const graft = graftFields(job, attempts, times, place);
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
    method,
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

/** Converts the run of a job in an experiment tracker to OpenAI's format. */
export function integrationOf(run: IntegrationRun): JobIntegrationObject {
  const { type, status, url, error } = run;
  const { project, name, entity, tags } = run.settings;
  const graft = { status, url, error };
  return type === 'wandb'
    ? { type, wandb: { project, name, entity, tags: tags as readonly string[] }, graft }
    : {
        type,
        mlflow: { experiment: project, name, tags: tags as Readonly<Record<string, string>> },
        graft,
      };
}

/** Sets the phase of a job that waits in a pool whose grant was revoked. */
export function withRevokedPool(job: JobObject): JobObject {
  const message = `Waiting: the project may no longer use pool ${job.graft.pool}. Ask an administrator for a grant, or cancel the job`;
  return { ...job, graft: { ...job.graft, phase: { code: 'pool_not_granted', message } } };
}

/** Sets the phase of a job that waits in a cordoned pool. */
export function withCordonedPool(job: JobObject): JobObject {
  const message = `Waiting: pool ${job.graft.pool} is cordoned and starts no new jobs until an administrator uncordons it`;
  return { ...job, graft: { ...job.graft, phase: { code: 'pool_cordoned', message } } };
}

/** Adds a warning to a job that waits in a pool that no worker has ever joined. */
export function withPoolWarning(job: JobObject, message: string): JobObject {
  const warning = { code: POOL_NEVER_JOINED, message, step: null };
  return { ...job, graft: { ...job.graft, warnings: [...job.graft.warnings, warning] } };
}

/**
 * OpenAI's hyperparameters with every "auto" resolved. The learning rate already includes the multiplier.
 */
export function resolvedNumbers(
  request: Pick<CreateJob, 'hyperparameters' | 'method'>,
  spec: Spec,
): JobPreviewObject['hyperparameters'] {
  return {
    batch_size: spec.batch_size,
    learning_rate_multiplier: hyperparametersOf(request).learning_rate_multiplier ?? 'auto',
    n_epochs: spec.n_epochs,
  };
}

/**
 * OpenAI's `method` with its hyperparameters. Hyperparameters of a single method are options of the task.
 */
function methodObject(
  hyperparameters: JobPreviewObject['hyperparameters'],
  { task, task_options: options }: Spec,
): JobObject['method'] {
  const type = fineTuningMethod(task);
  const names = Object.keys(METHOD_HYPERPARAMETERS[type].shape);
  const own = names.filter((name) => !Object.hasOwn(hyperparameters, name));
  const of = Object.fromEntries(own.map((name) => [name, options[name]]));
  return { type, [type]: { hyperparameters: { ...of, ...hyperparameters } } };
}

/** Sets the phase of a job that waits for a worker of its schema version or newer. */
export function withOutdatedPool(job: JobObject, schemaVersion: number): JobObject {
  const message = `Waiting for a worker of schema version ${schemaVersion} or newer in pool ${job.graft.pool}: upgrade its workers`;
  return { ...job, graft: { ...job.graft, phase: { code: 'no_able_worker', message } } };
}

/** Resolved values of the options that a user may set under `graft`. */
export const resolvedOptions = (spec: Spec): Record<string, unknown> =>
  Object.fromEntries(
    // A Spec of an earlier version does not have all options, and their default is not null.
    TRAINING_OPTIONS.map((name) => {
      const isUnsaid = spec[name] === undefined && BY_DATA.includes(name);
      return [name, isUnsaid ? null : spec[name]];
    }),
  );

function graftFields(
  job: Job,
  attempts: readonly TimedAttempt[],
  { silentAfter, restoreDays }: Times,
  place: QueuePlace | null,
): JobGraft {
  const running = job.state === 'running';
  const options = (job.request['graft'] ?? {}) as Record<string, unknown>;
  const current = attempts.at(-1);
  const sinceHeartbeat = running ? (current?.silent ?? null) : null;
  const silent =
    sinceHeartbeat !== null && sinceHeartbeat >= silentAfter ? Math.round(sinceHeartbeat) : null;
  const left = job.total_steps === null ? null : Math.max(0, job.total_steps - job.step);
  return {
    ...options,
    ...resolvedOptions(job.spec),
    operation: operationObject(job),
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
    attempts: attempts.map((attempt) => attemptObject(job, attempt)),
    training_seconds: tenths(workSeconds(job, attempts)),
    worker_silent_seconds: silent,
    process: running ? (current?.process ?? null) : null,
    shares_with: running ? (current?.shares_with ?? null) : null,
    alone: runsAlone(job),
    waited_seconds: tenths(job.waited_seconds),
    started_at: unixOrNull(job.started_at),
    pool: job.pool,
    priority: job.priority,
    ...placeFields(place),
    trainable_parameters: job.trainable_parameters,
    total_parameters: job.total_parameters,
    train_loss: finite(job.train_loss),
    valid_loss: finite(job.valid_loss),
    sparkline: job.sparkline.values,
    best: job.best,
    published_step: job.published_step,
    best_score: job.best_score,
    warnings: job.warnings,
    data: job.data,
    name: jobName(job),
    tags: job.tags,
    note: job.note,
    archived: job.archived_at !== null,
    restorable_until: job.deleted_at && restorableUntil(job.deleted_at, restoreDays),
    forgetting: job.forgetting,
    sweep: job.sweep_id === null ? null : { id: job.sweep_id, trial: job.trial ?? 0 },
  };
}

/** The operation on adapters that a job performs; null for training jobs. */
export function operationObject({
  spec,
  request,
}: Pick<Job, 'spec' | 'request'>): JobGraft['operation'] {
  const { operation } = spec;
  if (!operation) return null;
  const { adapters, model } = request as { adapters?: readonly string[]; model?: string };
  return { ...operation, adapters: adapters ?? (model === undefined ? [] : [model]) };
}

/** Unix time in seconds until which a deleted job can be restored. */
export const restorableUntil = (deleted: Date, days: number): number =>
  unix(deleted) + days * 86_400;

const silence = (seconds: number): string =>
  `No heartbeat from its worker for ${seconds} s; if it stays silent, the job will resume on another worker from its last checkpoint`;

const tenths = (value: number): number => Math.round(value * 10) / 10;

/**
 * Seconds of work. An operation on adapters has no first step, so its attempts count from their assignment.
 */
const workSeconds = ({ spec }: Job, attempts: readonly TimedAttempt[]): number =>
  attempts.reduce(
    (sum, { seconds, assigned_seconds: whole }) => sum + (spec.operation ? whole : seconds),
    0,
  );

function attemptObject({ spec }: Job, attempt: Attempt): JobAttempt {
  const { assigned_at: assigned, started_at: started } = attempt;
  return {
    number: attempt.number,
    worker: attempt.worker_name,
    started_at: unixOrNull(spec.operation ? assigned : (started ?? assigned)),
    ended_at: unixOrNull(attempt.ended_at),
    outcome: attempt.outcome,
    reason: attempt.reason,
    from_step: attempt.from_step,
    to_step: attempt.to_step,
  };
}

/** Null if the value is not finite: JSON has no NaN. */
export const finite = (value: number | null): number | null =>
  value !== null && Number.isFinite(value) ? value : null;
