import type { IntegrationType } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Int, Json, Now, Text, Time, optional } from '../columns.js';

/** A tracker configured for a project. */
@Entity('integration')
export class Integration {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_pk' }) type!: IntegrationType;
  @Text() url!: string;
  @Text(optional) username!: string | null;
  /** Stored in plain text because each request sends it. */
  @Text(optional) secret!: string | null;
  /** Default W&B project or MLflow experiment, for jobs that do not specify one. */
  @Text() project!: string;
  @Text(optional) entity!: string | null;
  @Column({ type: 'boolean', default: false }) every_job!: boolean;
  /** Consecutive attempts that failed because of the tracker, and the time of the next one. */
  @Int({ default: 0 }) failures!: number;
  @Time({ default: () => 'now()' }) next_at!: Date;
  /** `null` if the last attempt succeeded or there was none. */
  @Time(optional) failing_since!: Date | null;
  @Text(optional) last_error!: string | null;
  @Time(optional) sent_at!: Date | null;
  /**
   * API process that sends to the tracker, and the time until which its claim is valid; without an owner, the time of
   * its release.
   */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  @Now() created_at!: Date;
}

/** Settings of a job's run in a tracker, with all defaults filled in. */
export interface RunSettings {
  /** Project in W&B or experiment in MLflow. */
  readonly project: string;
  readonly name: string | null;
  readonly entity: string | null;
  /** List in W&B, names and values in MLflow. */
  readonly tags: readonly string[] | Readonly<Record<string, string>>;
}

/** A job's run in a tracker, and how much of the job has been sent. */
@Entity('integration_run')
@Index('integration_run_open', ['project_id', 'type', 'next_at'], { where: "status = 'open'" })
export class IntegrationRun {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_run_pk' }) job_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_run_pk' }) type!: IntegrationType;
  @Text() project_id!: string;
  @Json() settings!: RunSettings;
  @Text({ default: 'open' }) status!: 'open' | 'done' | 'failed';
  /** Number of the last event of the job that was sent. */
  @Int({ default: 0 }) cursor!: number;
  /** State of the run for the tracker's client; `null` before it is created. */
  @Json(optional) remote!: Record<string, unknown> | null;
  @Text(optional) url!: string | null;
  @Text(optional) error!: string | null;
  /** Consecutive attempts that were rejected. */
  @Int({ default: 0 }) failures!: number;
  @Time({ default: () => 'now()' }) next_at!: Date;
  @Time(optional) sent_at!: Date | null;
  @Now() created_at!: Date;
}
