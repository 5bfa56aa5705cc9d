import type { EvalItemResult, EvalRunStatus } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Int, Json, Now, Text, Time, optional } from '../columns.js';

/** What models are asked again and again: the form of its items, and how answers are graded. */
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

/** One model, or finished answers, by an eval. Its items are rows; whose process died, another goes on with. */
@Entity('eval_run')
@Index('eval_run_eval', ['eval_id', 'created_at', 'id'])
@Index('eval_run_open', ['created_at'], { where: "status IN ('queued', 'in_progress')" })
@Index('eval_run_turn', ['project_id', 'taken_at'], { where: 'taken_at IS NOT NULL' })
@Index('eval_run_to_erase', ['id'], { where: 'to_erase' })
@Index('eval_run_file', ['source_file'])
// Its migration gives it the collation "C", in which a name's beginning is a range.
@Index('eval_run_model', ['model'])
@Index('eval_run_checkpoint', ['job_id', 'step'], { unique: true, where: 'job_id IS NOT NULL' })
export class EvalRun {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_run_pk' }) id!: string;
  @Text() eval_id!: string;
  @Text() project_id!: string;
  /** Whose chats it asks. */
  @Text() key_id!: string;
  @Text() name!: string;
  /** Empty where nothing is sampled. */
  @Text() model!: string;
  @Json() data_source!: Readonly<Record<string, unknown>>;
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Text({ default: 'queued' }) status!: EvalRunStatus;
  /** Who does it, and until when that is sure. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  /** When it last got a slot. */
  @Time(optional) taken_at!: Date | null;
  /** Since when no item could be graded because it waits; null while it goes on. */
  @Time(optional) waiting_since!: Date | null;
  /** It gets no slot before. */
  @Time(optional) resume_at!: Date | null;
  /** The pool whose workers are to answer it, once it has waited for one. */
  @Text(optional) wanted_pool!: string | null;
  /** Why it failed. */
  @Json(optional) error!: { readonly code: string; readonly message: string } | null;
  /** Whose checkpoint it scores, and of which step. */
  @Text(optional) job_id!: string | null;
  @Int(optional) step!: number | null;
  /** The file that its items came from, by a trigger: '' where there is none, null until the service has looked. */
  @Text(optional) source_file!: string | null;
  /** When its items were deleted with their file, and its samples with that or with the job of their model. */
  @Time(optional) items_deleted_at!: Date | null;
  @Time(optional) samples_deleted_at!: Date | null;
  /** What was deleted is there yet, though shown to nobody. */
  @Column({ type: 'boolean', default: false }) to_erase!: boolean;
  @Now() created_at!: Date;
}

@Entity('eval_item')
export class EvalItem {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'eval_item_pk' }) run_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'eval_item_pk' }) number!: number;
  @Json() item!: Readonly<Record<string, unknown>>;
  /** Brought with the item, or sampled for it. While it is queued, `results` and `usage` are those that came before it had to wait. */
  @Json(optional) sample!: Readonly<Record<string, unknown>> | null;
  @Text({ default: 'queued' }) status!: 'queued' | 'pass' | 'fail' | 'error';
  @Json({ default: () => "'[]'" }) results!: readonly EvalItemResult[];
  /** Tokens by model. */
  @Json({ default: () => "'{}'" }) usage!: Readonly<
    Record<string, Readonly<Record<string, number>>>
  >;
  @Time(optional) done_at!: Date | null;
}
