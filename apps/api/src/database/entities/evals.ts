import type { EvalItemResult, EvalRunStatus } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** An eval: the schema of its items, and the criteria that grade the answers of models. */
@Entity('eval')
@Index('eval_project', ['project_id', 'created_at', 'id'])
export class Eval {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() name!: string;
  @Json() data_source_config!: Readonly<Record<string, unknown>>;
  @Json() testing_criteria!: readonly Readonly<Record<string, unknown>>[];
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Now() created_at!: Date;
  @Now() updated_at!: Date;
}

/**
 * A run of an eval with one model, or with given answers. Its items are rows of eval_item. If the API process that
 * works on it dies, another one continues.
 */
@Entity('eval_run')
@Index('eval_run_eval', ['eval_id', 'created_at', 'id'])
@Index('eval_run_open', ['created_at'], { where: "status IN ('queued', 'in_progress')" })
@Index('eval_run_turn', ['project_id', 'taken_at'], { where: 'taken_at IS NOT NULL' })
@Index('eval_run_to_erase', ['id'], { where: 'to_erase' })
@Index('eval_run_file', ['source_file'])
// The migration gives this index the collation "C", in which names with a common prefix are a range.
@Index('eval_run_model', ['model'])
@Index('eval_run_checkpoint', ['job_id', 'step'], { unique: true, where: 'job_id IS NOT NULL' })
export class EvalRun {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_run_pk' }) id!: string;
  @Text() eval_id!: string;
  @Text() project_id!: string;
  /** Key on whose behalf the run uses the model. */
  @Text() key_id!: string;
  @Text() name!: string;
  /** Model that answers; empty if the answers are given. */
  @Text() model!: string;
  @Json() data_source!: Readonly<Record<string, unknown>>;
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Text({ default: 'queued' }) status!: EvalRunStatus;
  /** API process that works on the run, and the time until which its claim is valid. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  /** Time at which the run last got a slot. */
  @Time(optional) taken_at!: Date | null;
  /** Time since which the run has waited without grading an item; `null` while it proceeds. */
  @Time(optional) waiting_since!: Date | null;
  /** The run gets no slot before this time. */
  @Time(optional) resume_at!: Date | null;
  /** Pool whose workers should answer the run. It is set after the run has waited for a worker. */
  @Text(optional) wanted_pool!: string | null;
  /** Error of a failed run. */
  @Json(optional) error!: { readonly code: string; readonly message: string } | null;
  /** The job whose checkpoint the run scores, and the checkpoint's step. */
  @Text(optional) job_id!: string | null;
  @Int(optional) step!: number | null;
  /** The file of the items, written by a trigger: '' if there is none. */
  @Text() source_file!: string;
  /** Time at which the items were deleted with their file, and the samples with that file or with the job of their model. */
  @Time(optional) items_deleted_at!: Date | null;
  @Time(optional) samples_deleted_at!: Date | null;
  /** Whether deleted texts are still stored. They are no longer shown. */
  @Column({ type: 'boolean', default: false }) to_erase!: boolean;
  /**
   * Bytes of the run's items, maintained by triggers. Answers count after the run has ended. 0 for runs of
   * checkpoints.
   */
  @Big({ default: 0 }) bytes!: number;
  @Now() created_at!: Date;
}

@Entity('eval_item')
export class EvalItem {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_item_pk' }) run_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'eval_item_pk' }) number!: number;
  @Json() item!: Readonly<Record<string, unknown>>;
  /**
   * The answer, which was given with the item or generated. While the item is queued, `results` and `usage` contain
   * the partial result from before it had to wait.
   */
  @Json(optional) sample!: Readonly<Record<string, unknown>> | null;
  @Text({ default: 'queued' }) status!: 'queued' | 'pass' | 'fail' | 'error';
  @Json({ default: () => "'[]'" }) results!: readonly EvalItemResult[];
  /** The tokens used, by model. */
  @Json({ default: () => "'{}'" }) usage!: Readonly<
    Record<string, Readonly<Record<string, number>>>
  >;
  @Time(optional) done_at!: Date | null;
}
