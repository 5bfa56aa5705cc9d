import type { JobStatus, SweepMetric, SweepSearch } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Float, Json, Now, Text, Time, optional } from '../columns.js';

/** What of a search was asked for, with every default. */
export interface ResolvedSearch {
  readonly algorithm: SweepSearch['algorithm'];
  readonly preset: 'methods' | null;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly metric: SweepMetric;
  /** Null, and no rungs, where no trial is ended early. */
  readonly reduction_factor: number | null;
  readonly rungs: readonly number[];
}

/** Several jobs, its trials, which name it. */
@Entity('sweep')
@Index('sweep_project', ['project_id', 'created_at', 'id'])
export class Sweep {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'sweep_pk' }) id!: string;
  @Text() project_id!: string;
  /** What its trials have in common, as it was asked for. */
  @Json() request!: Readonly<Record<string, unknown>>;
  @Json() search!: ResolvedSearch;
  @Text() model!: string;
  @Text() training_file!: string;
  @Text(optional) suffix!: string | null;
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Now() created_at!: Date;
  @Time(optional) cancelled_at!: Date | null;
  /** Once nothing of it goes on. */
  @Time(optional) ended_at!: Date | null;
  /** How trials ended that are deleted for good. */
  @Json({ default: () => "'[]'" }) gone!: readonly JobStatus[];
}

/** A trial at a rung: written once, in the transaction that decides whether it goes on. */
@Entity('sweep_rung')
@Index('sweep_rung_step', ['sweep_id', 'step'])
export class SweepRung {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'sweep_rung_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'sweep_rung_pk' }) step!: number;
  @Text() sweep_id!: string;
  /** Null where it was not finite. */
  @Float(optional) score!: number | null;
  @Column({ type: 'boolean' }) kept!: boolean;
  @Now() created_at!: Date;
}
