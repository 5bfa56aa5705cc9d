import type { EvalItemResult, EvalRunStatus } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, Int, Json, Now, Text, Time, optional } from '../columns.js';

/** An eval: the form of its items, and how answers of models are graded. */
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
 * A run of an eval with one model, or with answers that are there already. Its items are rows of eval_item. If the API
 * process that works on it dies, another one goes on.
 */
@Entity('eval_run')
@Index('eval_run_eval', ['eval_id', 'created_at', 'id'])
@Index('eval_run_open', ['created_at'], { where: "status IN ('queued', 'in_progress')" })
@Index('eval_run_turn', ['project_id', 'taken_at'], { where: 'taken_at IS NOT NULL' })
@Index('eval_run_to_erase', ['id'], { where: 'to_erase' })
@Index('eval_run_file', ['source_file'])
// The migration gives this index the collation "C", in which the names with one beginning are a range.
@Index('eval_run_model', ['model'])
@Index('eval_run_checkpoint', ['job_id', 'step'], { unique: true, where: 'job_id IS NOT NULL' })
export class EvalRun {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_run_pk' }) id!: string;
  @Text() eval_id!: string;
  @Text() project_id!: string;
  /** The key in whose name the run asks the model. */
  @Text() key_id!: string;
  @Text() name!: string;
  /** The model that is asked; empty if the answers are there already. */
  @Text() model!: string;
  @Json() data_source!: Readonly<Record<string, unknown>>;
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Text({ default: 'queued' }) status!: EvalRunStatus;
  /** The API process that works on the run, and until when no other may take it. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  /** When the run last got a slot. */
  @Time(optional) taken_at!: Date | null;
  /** Since when the run has waited without grading an item; null while it goes on. */
  @Time(optional) waiting_since!: Date | null;
  /** The run gets no slot before this time. */
  @Time(optional) resume_at!: Date | null;
  /** The pool whose workers are to answer the run, set once it has waited for one of them. */
  @Text(optional) wanted_pool!: string | null;
  /** Why the run failed. */
  @Json(optional) error!: { readonly code: string; readonly message: string } | null;
  /** The job whose checkpoint the run scores, and the checkpoint's step. */
  @Text(optional) job_id!: string | null;
  @Int(optional) step!: number | null;
  /** The file of the items, written by a trigger: '' if there is none. */
  @Text() source_file!: string;
  /** When the items were deleted with their file, and the samples with that file or with the job of their model. */
  @Time(optional) items_deleted_at!: Date | null;
  @Time(optional) samples_deleted_at!: Date | null;
  /** Whether deleted texts are still stored. They are no longer shown. */
  @Column({ type: 'boolean', default: false }) to_erase!: boolean;
  /** What its items take, by triggers: answers count once the run is over. 0 for runs of checkpoints. */
  @Big({ default: 0 }) bytes!: number;
  @Now() created_at!: Date;
}

@Entity('eval_item')
export class EvalItem {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_item_pk' }) run_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'eval_item_pk' }) number!: number;
  @Json() item!: Readonly<Record<string, unknown>>;
  /**
   * The answer: it came with the item or was sampled. While the item is queued, `results` and `usage` hold what was
   * found before it had to wait.
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
