import type {
  DataReport,
  EventKind,
  JobBest,
  JobError,
  JobForgetting,
  JobScore,
  JobStatus,
  JobWarning,
  Spec,
  Confusion,
} from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, DeletedAt, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';
import type { StoredFile } from './storage.js';

/** Numbers by name. A value that is not finite is stored as its name, as PostgreSQL converts float8 to jsonb. */
export type StoredValues = Readonly<Record<string, number | string>>;

/** Losses of the whole run. The stride doubles whenever there are 60 values. */
export interface Sparkline {
  readonly stride: number;
  readonly values: readonly number[];
}

/**
 * SQL condition that a deleted job can still be restored, within a number of days (Settings.restoreDays). Afterwards
 * its rows are deleted, in several transactions.
 */
export const isRestorable = (days: number): string =>
  `deleted_at >= clock_timestamp() - interval '${days} days'`;

/**
 * SQL for text after the id of a deleted model, for messages. Requests do not show models that were deleted with
 * their job.
 */
export const restorableText = (
  days: number,
): string => `CASE WHEN deleted_at IS NULL THEN '' ELSE ', which was deleted with its job and can be restored until '
  || to_char((deleted_at + interval '${days} days') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') END`;

/** SQL condition that a job has not ended. */
export const IS_OPEN = `state IN ('queued', 'running', 'paused')`;

/**
 * `attempt`, the number of the newest attempt, is the fencing token. It increases with every assignment,
 * cancellation, pause and lost lease. Statements on behalf of a worker must include it in their condition.
 */
@Entity('job')
@Index('job_project', ['project_id', 'created_at', 'id'])
@Index('job_open', ['state', 'lease_until'])
@Index('job_changed', ['project_id', 'updated_at'])
@Index('job_waiting', ['pool', 'project_id', 'priority', 'created_at', 'id'], {
  where: "state = 'queued' AND desired_state = 'run'",
})
@Index('job_queued', ['project_id'], { where: "state = 'queued'" })
@Index('job_running', ['project_id', 'pool'], { where: "state = 'running'" })
@Index('job_lease', ['lease_owner'], { where: "state = 'running'" })
@Index('job_sweep', ['sweep_id', 'trial'], { unique: true, where: 'sweep_id IS NOT NULL' })
@Index('job_speed', ['base_id', 'updated_at'], { where: 'tokens_per_second IS NOT NULL' })
@Index('job_deleted', ['deleted_at'], { where: 'deleted_at IS NOT NULL' })
export class Job {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'job_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() state!: JobStatus;
  @Text({ default: 'run' }) desired_state!: 'run' | 'pause';
  @Int({ default: 0 }) attempt!: number;
  @Text(optional) lease_owner!: string | null;
  @Time(optional) lease_until!: Date | null;
  @Int({ default: 0 }) event_counter!: number;

  /** Id of the base model that the worker loads. */
  @Text() base_id!: string;
  /** Model in the request: the base model, or a fine-tuned model to continue from. */
  @Text() model!: string;
  @Text(optional) fine_tuned_model!: string | null;
  @Json() request!: Record<string, unknown>;
  @Json() spec!: Spec;
  /**
   * Schema version of the API process that created the job (SCHEMA_VERSION of the contracts). Workers need at least
   * this version.
   */
  @Int({ default: 1 }) schema_version!: number;
  @Json({ default: () => "'[]'" }) init_adapter!: StoredFile[];
  /** Report on the training file for this base model; `null` if the file could not be read. */
  @Json(optional) data!: DataReport | null;
  /** `null` for operations on adapters. */
  @Text(optional) training_file!: string | null;
  @Text(optional) validation_file!: string | null;
  /** Hashes of these files, which outlive them. */
  @Text(optional) training_sha256!: string | null;
  @Text(optional) validation_sha256!: string | null;
  @Text(optional) suffix!: string | null;
  @Json(optional) metadata!: Record<string, string> | null;
  @Text() pool!: string;
  @Int() priority!: number;
  /** Sweep that the job is a trial of, its number in it, and its values of the sweep's parameters, by path. */
  @Text(optional) sweep_id!: string | null;
  @Int(optional) trial!: number | null;
  @Json(optional) trial_options!: Readonly<Record<string, unknown>> | null;

  /** Display name that applies unless users set `name`. */
  @Text(optional) default_name!: string | null;
  /** Name, tags and note by users. The model keeps the suffix. */
  @Text(optional) name!: string | null;
  @Json({ default: () => "'[]'" }) tags!: string[];
  @Text(optional) note!: string | null;
  @Time(optional) archived_at!: Date | null;
  @DeletedAt() deleted_at!: Date | null;

  @Text() phase_code!: string;
  @Text() phase_message!: string;
  @Int({ default: 0 }) step!: number;
  @Int(optional) total_steps!: number | null;
  @Float(optional) tokens_per_second!: number | null;
  @Float(optional) seconds_per_step!: number | null;
  @Big(optional) trainable_parameters!: number | null;
  @Big(optional) total_parameters!: number | null;
  @Float(optional) train_loss!: number | null;
  @Float(optional) valid_loss!: number | null;
  @Json(optional) best!: JobBest | null;
  @Json(optional) best_score!: JobScore | null;
  /** Step whose weights the model contains. */
  @Int(optional) published_step!: number | null;
  @Json(optional) forgetting!: JobForgetting | null;
  /** Memory reserved for the run, in addition to the base model. */
  @Big(optional) run_bytes!: number | null;
  @Json({ default: () => "'[]'" }) warnings!: JobWarning[];
  /** Estimated tokens of all steps, as known at creation. */
  @Big(optional) estimated_tokens!: number | null;
  @Big(optional) trained_tokens!: number | null;
  @Json({ default: () => `'{"stride": 1, "values": []}'` }) sparkline!: Sparkline;
  @Json(optional) error!: JobError | null;
  @Json({ default: () => "'[]'" }) result_files!: string[];

  /** Crashes since the last committed checkpoint, and infrastructure failures over the whole life of the job. */
  @Int({ default: 0 }) crash_count!: number;
  @Int({ default: 0 }) infra_count!: number;
  /** Process deaths since the last committed checkpoint that the job may have caused. */
  @Int({ default: 0 }) present_at_deaths!: number;
  /** Seconds in which its processes worked for other jobs, over the whole life of the job. */
  @Float({ default: 0 }) waited_seconds!: number;
  @Int({ default: 0 }) replay_mismatches!: number;
  /** Number of times that a later job was preferred because a worker had that job's base model loaded. */
  @Int({ default: 0 }) passed_over!: number;
  /** Time since which the worker has been asked to preempt it for a job of higher priority. */
  @Time(optional) preempting_at!: Date | null;
  /**
   * Step at which the worker should end the job as if it were the last, because it was behind at a rung of its sweep.
   */
  @Int(optional) end_at_step!: number | null;
  /** Number of consecutive attempts that were preempted. */
  @Int({ default: 0 }) preempted!: number;
  @Time(optional) not_before!: Date | null;
  /** Time at which the job was last queued. */
  @Now() queued_at!: Date;
  /** Time at which the request that created the job arrived. */
  @Time(optional) received_at!: Date | null;
  /** W3C trace context headers of that request, if it was traced. */
  @Text(optional) traceparent!: string | null;
  @Text(optional) tracestate!: string | null;
  @Now() created_at!: Date;
  @Now() updated_at!: Date;
  @Time(optional) started_at!: Date | null;
  @Time(optional) finished_at!: Date | null;
}

@Entity('attempt')
@Index('attempt_process', ['process'], { where: 'ended_at IS NULL' })
@Index('attempt_own', ['worker_id', 'ended_at'], { where: "blame = 'own'" })
export class Attempt {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'attempt_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'attempt_pk' }) number!: number;
  @Text() worker_id!: string;
  @Text() worker_name!: string;
  @Now() assigned_at!: Date;
  @Time(optional) started_at!: Date | null;
  @Time(optional) ended_at!: Date | null;
  @Text(optional) outcome!: string | null;
  /** Name of the trainer process of the attempt. Attempts on a worker with the same name shared it. */
  @Text(optional) process!: string | null;
  /** Whether the attempt caused the death of its process. */
  @Text(optional) blame!: 'own' | 'shared' | 'other' | null;
  @Int({ default: 0 }) from_step!: number;
  /** Last step that the attempt reported; `null` until it has ended, and if it never started. */
  @Int(optional) to_step!: number | null;
  /** Reason of the end in words; `null` if `outcome` says it all. */
  @Text(optional) reason!: string | null;
  /** Name of the key or member that asked the worker to kill the trainer process of this attempt. */
  @Text(optional) interrupted_by!: string | null;
  /** Build of the trainer, its device and its CPU threads. */
  @Text(optional) trainer_build!: string | null;
  @Text(optional) device!: string | null;
  @Int(optional) threads!: number | null;
  /** Highest event sequence ingested. Events up to it are dropped as repeated. */
  @Int({ default: 0 }) last_sequence!: number;
}

@Entity('event')
@Index('event_log', ['job_id', 'number'], { where: "type = 'log'" })
@Index('event_kind', ['job_id', 'kind', 'number'], { where: "kind IN ('sample', 'ledger')" })
export class JobEvent {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'event_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'event_pk' }) number!: number;
  @Text() level!: 'info' | 'warn' | 'error';
  /** `message` and `metrics` are OpenAI's types; `log` is the log of worker and trainer. */
  @Text() type!: 'message' | 'metrics' | 'log';
  @Text() message!: string;
  /** Kind of the event for programs; `null` if it is only a message for users. */
  @Text(optional) kind!: EventKind | null;
  @Json(optional) data!: Record<string, unknown> | null;
  @Now() created_at!: Date;
}

@Entity('metric')
@Index('metric_step', ['job_id', 'step', 'attempt'])
export class Metric {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'metric_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'metric_pk' }) attempt!: number;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'metric_pk' }) step!: number;
  @Float() seconds!: number;
  @Int() tokens!: number;
  @Big() rss_bytes!: number;
  @Json() values!: StoredValues;
}

@Entity('evaluation')
export class Evaluation {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'evaluation_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'evaluation_pk' }) attempt!: number;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'evaluation_pk' }) step!: number;
  @Column({ type: 'boolean' }) full!: boolean;
  @Json() values!: StoredValues;
  /** Confusion matrix, for tasks that predict one label. */
  @Json(optional) confusion!: Confusion | null;
}

@Entity('checkpoint')
@Index('checkpoint_step', ['job_id', 'attempt', 'step'], { unique: true })
@Index('checkpoint_created', ['created_at', 'job_id'])
export class Checkpoint {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'checkpoint_pk' }) id!: string;
  @Text() job_id!: string;
  @Int() attempt!: number;
  @Int() step!: number;
  /** Empty if only the adapter is kept. No job resumes from such a checkpoint. */
  @Json() files!: StoredFile[];
  @Json() adapter!: StoredFile[];
  @Now() created_at!: Date;
  /** Time at which its bytes were found damaged. Nothing resumes from it. */
  @Time(optional) damaged_at!: Date | null;
}
