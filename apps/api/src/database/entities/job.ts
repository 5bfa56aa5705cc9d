import type { DataReport, JobBest, JobError, JobStatus, JobWarning, Spec } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';
import type { StoredFile } from './storage.js';

/** Losses of the whole run at a stride that doubles whenever 60 are reached. */
export interface Sparkline {
  readonly stride: number;
  readonly values: readonly number[];
}

/**
 * `epoch` is the fencing token: +1 at every assignment, cancel, pause and lost lease. Whoever writes
 * on behalf of a worker names it in the statement itself.
 */
@Entity('job')
@Index('job_project', ['project_id', 'created_at', 'id'])
@Index('job_open', ['state', 'lease_until'])
@Index('job_speed', ['base_id', 'updated_at'], { where: 'tokens_per_second IS NOT NULL' })
export class Job {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'job_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() state!: JobStatus;
  @Text({ default: 'run' }) desired_state!: 'run' | 'pause';
  @Int({ default: 0 }) epoch!: number;
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
  @Json({ default: () => "'[]'" }) init_adapter!: StoredFile[];
  /** What the training file is for this base; null where it could not be looked at. */
  @Json(optional) data!: DataReport | null;
  @Text() training_file!: string;
  @Text(optional) validation_file!: string | null;
  @Text(optional) suffix!: string | null;
  @Json(optional) metadata!: Record<string, string> | null;
  @Text() pool!: string;
  @Int() priority!: number;

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
  @Json({ default: () => "'[]'" }) warnings!: JobWarning[];
  @Big(optional) trained_tokens!: number | null;
  @Json({ default: () => `'{"stride": 1, "values": []}'` }) sparkline!: Sparkline;
  @Json(optional) error!: JobError | null;
  @Json({ default: () => "'[]'" }) result_files!: string[];

  /** Crashes since the last committed checkpoint; failures of the infrastructure over the whole life. */
  @Int({ default: 0 }) crash_count!: number;
  @Int({ default: 0 }) infra_count!: number;
  @Int({ default: 0 }) replay_mismatches!: number;
  /** When its last hint was emitted. */
  @Time(optional) hint_at!: Date | null;
  @Time(optional) not_before!: Date | null;
  @Now() created_at!: Date;
  @Now() updated_at!: Date;
  @Time(optional) started_at!: Date | null;
  @Time(optional) finished_at!: Date | null;
}

@Entity('attempt')
export class Attempt {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'attempt_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'attempt_pk' }) epoch!: number;
  @Text() worker_id!: string;
  @Text() worker_name!: string;
  @Now() assigned_at!: Date;
  @Time(optional) started_at!: Date | null;
  @Time(optional) ended_at!: Date | null;
  @Text(optional) outcome!: string | null;
  @Int({ default: 0 }) from_step!: number;
  /** Highest event sequence ingested: what a replay repeats is dropped. */
  @Int({ default: 0 }) last_sequence!: number;
}

@Entity('event')
export class JobEvent {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'event_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'event_pk' }) number!: number;
  @Text() level!: 'info' | 'warn' | 'error';
  /** `message` and `metrics` are OpenAI's types; `log` lines are the trainer's own. */
  @Text() type!: 'message' | 'metrics' | 'log';
  @Text() message!: string;
  @Json(optional) data!: Record<string, unknown> | null;
  @Now() created_at!: Date;
}

@Entity('metric')
export class Metric {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'metric_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'metric_pk' }) epoch!: number;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'metric_pk' }) step!: number;
  @Float() loss!: number;
  @Float() learning_rate!: number;
  @Float() grad_norm!: number;
  @Float() accuracy!: number;
  @Float() seconds!: number;
  @Int() tokens!: number;
  @Int() supervised_tokens!: number;
  @Big() rss_bytes!: number;
}

@Entity('evaluation')
export class Evaluation {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'evaluation_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'evaluation_pk' }) epoch!: number;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'evaluation_pk' }) step!: number;
  @Float() loss!: number;
  @Float() accuracy!: number;
  @Int() tokens!: number;
  @Column({ type: 'boolean' }) full!: boolean;
}

@Entity('checkpoint')
@Index('checkpoint_step', ['job_id', 'epoch', 'step'], { unique: true })
export class Checkpoint {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'checkpoint_pk' }) id!: string;
  @Text() job_id!: string;
  @Int() epoch!: number;
  @Int() step!: number;
  @Json() files!: StoredFile[];
  @Json() adapter!: StoredFile[];
  /** Read by nobody; an API of the release before still writes it, and must after a roll-back. */
  @Json({ default: () => "'{}'", select: false }) metrics?: object;
  @Now() created_at!: Date;
}
