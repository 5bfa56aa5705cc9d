import type { JobStatus, SweepMetric, SweepSearch } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Float, Json, Now, Text, Time, optional } from '../columns.js';

/** A sweep's search with all defaults filled in. */
export interface ResolvedSearch {
  readonly algorithm: SweepSearch['algorithm'];
  readonly preset: 'methods' | null;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly metric: SweepMetric;
  /** `null` if no trial ends early; then there are no rungs. */
  readonly reduction_factor: number | null;
  readonly rungs: readonly number[];
}

/** A sweep. Its trials are jobs that reference it. */
@Entity('sweep')
@Index('sweep_project', ['project_id', 'created_at', 'id'])
export class Sweep {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'sweep_pk' }) id!: string;
  @Text() project_id!: string;
  /** Display name. */
  @Text() name!: string;
  /** Common part of the trials' requests, as received. */
  @Json() request!: Readonly<Record<string, unknown>>;
  @Json() search!: ResolvedSearch;
  @Text() model!: string;
  @Text() training_file!: string;
  @Text(optional) suffix!: string | null;
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Now() created_at!: Date;
  @Time(optional) cancelled_at!: Date | null;
  /** Time at which the last trial ended. */
  @Time(optional) ended_at!: Date | null;
  /** Final statuses of trials that were deleted permanently. */
  @Json({ default: () => "'[]'" }) gone!: readonly JobStatus[];
}

/** Result of a trial at a rung. It is written once, in the transaction that decides whether the trial continues. */
@Entity('sweep_rung')
@Index('sweep_rung_step', ['sweep_id', 'step'])
export class SweepRung {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'sweep_rung_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'sweep_rung_pk' }) step!: number;
  @Text() sweep_id!: string;
  /** `null` if it was not finite. */
  @Float(optional) score!: number | null;
  @Column({ type: 'boolean' }) kept!: boolean;
  @Now() created_at!: Date;
}
