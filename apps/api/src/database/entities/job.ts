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

/** Numbers by name; what is not finite is its name, as PostgreSQL makes jsonb of a float8. */
export type StoredValues = Readonly<Record<string, number | string>>;

/** Losses of the whole run at a stride that doubles whenever 60 are reached. */
export interface Sparkline {
  readonly stride: number;
  readonly values: readonly number[];
}

/**
 * SQL: of a deleted job that can be restored yet, where so many days are given for it (Settings.restoreDays); afterwards
 * its rows go, in several transactions.
 */
export const isRestorable = (days: number): string =>
  `deleted_at >= clock_timestamp() - interval '${days} days'`;

/** SQL: said of a model after its id, which no request shows where it was deleted with its job. */
export const untilWhen = (
  days: number,
): string => `CASE WHEN deleted_at IS NULL THEN '' ELSE ', which was deleted with its job and can be restored until '
  || to_char((deleted_at + interval '${days} days') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') END`;

/** SQL: of a job that is not over. */
export const IS_OPEN = `state IN ('queued', 'running', 'paused')`;

/**
 * `attempt`, the number of the newest attempt, is the fencing token: +1 at every assignment, cancel, pause and lost lease. Whoever writes
 * on behalf of a worker names it in the statement itself.
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

  /** Id of the base that a worker loads. */
  @Text() base_id!: string;
  /** What the user named: the base, or a fine-tuned model to go on from. */
  @Text() model!: string;
  @Text(optional) fine_tuned_model!: string | null;
  @Json() request!: Record<string, unknown>;
  @Json() spec!: Spec;
  /** That of the API process that made it (contracts' SCHEMA_VERSION): its workers must have at least this one. */
  @Int({ default: 1 }) schema_version!: number;
  @Json({ default: () => "'[]'" }) init_adapter!: StoredFile[];
  /** What the training file is for this base; null where it could not be looked at. */
  @Json(optional) data!: DataReport | null;
  /** Null of an operation on adapters. */
  @Text(optional) training_file!: string | null;
  @Text(optional) validation_file!: string | null;
  @Text(optional) suffix!: string | null;
  @Json(optional) metadata!: Record<string, string> | null;
  @Text() pool!: string;
  @Int() priority!: number;
  /** The sweep that it is a trial of, its number there, and what it has of the sweep's parameters by path. */
  @Text(optional) sweep_id!: string | null;
  @Int(optional) trial!: number | null;
  @Json(optional) trial_options!: Readonly<Record<string, unknown>> | null;

  /** What people say of it. Its model keeps the suffix. */
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
  /** The step whose weights its model holds. */
  @Int(optional) published_step!: number | null;
  @Json(optional) forgetting!: JobForgetting | null;
  /** What was reserved for its run beside the base. */
  @Big(optional) run_bytes!: number | null;
  @Json({ default: () => "'[]'" }) warnings!: JobWarning[];
  /** Of all its steps, as far as was known when it was created. */
  @Big(optional) estimated_tokens!: number | null;
  @Big(optional) trained_tokens!: number | null;
  @Json({ default: () => `'{"stride": 1, "values": []}'` }) sparkline!: Sparkline;
  @Json(optional) error!: JobError | null;
  @Json({ default: () => "'[]'" }) result_files!: string[];

  /** Crashes since the last committed checkpoint; failures of the infrastructure over the whole life. */
  @Int({ default: 0 }) crash_count!: number;
  @Int({ default: 0 }) infra_count!: number;
  /** Deaths of processes since the last committed checkpoint that may have been its fault. */
  @Int({ default: 0 }) present_at_deaths!: number;
  /** While its processes worked for others, over the whole life. */
  @Float({ default: 0 }) waited_seconds!: number;
  @Int({ default: 0 }) replay_mismatches!: number;
  /** How often another job was given to a worker because that held the other's base already. */
  @Int({ default: 0 }) passed_over!: number;
  /** Since when its worker is wanted to hand it back, for a job of higher priority. */
  @Time(optional) preempting_at!: Date | null;
  /** Its worker is wanted to end it, as if so many steps were all: it was behind at a rung of its sweep. */
  @Int(optional) end_at_step!: number | null;
  /** How many attempts in a row ended so. */
  @Int({ default: 0 }) preempted!: number;
  @Time(optional) not_before!: Date | null;
  /** Since when it waits for a worker, or last did. */
  @Now() queued_at!: Date;
  /** When the request that made the job arrived. */
  @Time(optional) received_at!: Date | null;
  /** Of that request, where it was part of a trace: W3C's headers. */
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
  /** Name of the trainer process that it ran in: attempts on a worker with the same one shared it. */
  @Text(optional) process!: string | null;
  /** Whose fault its end was, where a process died. */
  @Text(optional) blame!: 'own' | 'shared' | 'other' | null;
  @Int({ default: 0 }) from_step!: number;
  /** Highest event sequence ingested: what a replay repeats is dropped. */
  @Int({ default: 0 }) last_sequence!: number;
}

@Entity('event')
@Index('event_log', ['job_id', 'number'], { where: "type = 'log'" })
@Index('event_kind', ['job_id', 'kind', 'number'], { where: "kind IN ('sample', 'ledger')" })
export class JobEvent {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'event_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'event_pk' }) number!: number;
  @Text() level!: 'info' | 'warn' | 'error';
  /** `message` and `metrics` are OpenAI's types; `log` lines are the trainer's own. */
  @Text() type!: 'message' | 'metrics' | 'log';
  @Text() message!: string;
  /** What a program needs to know of it; null for what is said to people only. */
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
  /** Of tasks that tell one label of each input. */
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
  @Json() files!: StoredFile[];
  @Json() adapter!: StoredFile[];
  @Now() created_at!: Date;
  /** When its bytes were found to be others than were put: nothing resumes from it. */
  @Time(optional) damaged_at!: Date | null;
}
