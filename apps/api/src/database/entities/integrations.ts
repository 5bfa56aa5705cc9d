import type { IntegrationType } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Int, Json, Now, Text, Time, optional } from '../columns.js';

/** A tracker as a project has set it up. */
@Entity('integration')
export class Integration {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_pk' }) type!: IntegrationType;
  @Text() url!: string;
  @Text(optional) username!: string | null;
  /** Kept as it is: each request carries it. */
  @Text(optional) secret!: string | null;
  /** W&B's project or MLflow's experiment, where a job names none. */
  @Text() project!: string;
  @Text(optional) entity!: string | null;
  @Column({ type: 'boolean', default: false }) every_job!: boolean;
  /** Tries in a row that the tracker itself let fail, and when the next one is. */
  @Int({ default: 0 }) failures!: number;
  @Time({ default: () => 'now()' }) next_at!: Date;
  /** Null: the last try went well, or there was none. */
  @Time(optional) failing_since!: Date | null;
  @Text(optional) last_error!: string | null;
  @Time(optional) sent_at!: Date | null;
  /** Which API process sends to it, and until when that is sure; without one, when the last left it. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  @Now() created_at!: Date;
}

/** What a job says of its run in a tracker, with every default filled in. */
export interface RunSettings {
  /** W&B's project or MLflow's experiment. */
  readonly project: string;
  readonly name: string | null;
  readonly entity: string | null;
  /** W&B has a list of them, MLflow names and values. */
  readonly tags: readonly string[] | Readonly<Record<string, string>>;
}

/** A job's run in a tracker, and how much of the job is there. */
@Entity('integration_run')
@Index('integration_run_open', ['project_id', 'type', 'next_at'], { where: "status = 'open'" })
export class IntegrationRun {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_run_pk' }) job_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'integration_run_pk' }) type!: IntegrationType;
  @Text() project_id!: string;
  @Json() settings!: RunSettings;
  @Text({ default: 'open' }) status!: 'open' | 'done' | 'failed';
  /** Number of the last of the job's events that is there. */
  @Int({ default: 0 }) cursor!: number;
  /** What the tracker's own file knows of the run; null until it is made. */
  @Json(optional) remote!: Record<string, unknown> | null;
  @Text(optional) url!: string | null;
  @Text(optional) error!: string | null;
  /** Tries in a row that were refused. */
  @Int({ default: 0 }) failures!: number;
  @Time({ default: () => 'now()' }) next_at!: Date;
  @Time(optional) sent_at!: Date | null;
  @Now() created_at!: Date;
}
