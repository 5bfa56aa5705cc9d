import type { BatchEndpoint, BatchProblem, BatchStatus } from '@graft/contracts';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Big, Int, Json, Now, optional, Text, Time } from '../columns.js';

/** SQL condition that a batch has not ended. */
export const IS_OPEN_BATCH = `status IN ('validating', 'in_progress', 'finalizing', 'cancelling')`;

/** Times of a batch in Unix seconds, by the names of OpenAI's fields. */
export type BatchTimes = Readonly<Record<`${Exclude<BatchStatus, 'validating'>}_at`, number>>;

/** Requests of a file that are answered in the background. If the API process that works on it dies, another one continues. */
@Entity('batch')
@Index('batch_project', ['project_id', 'created_at', 'id'])
@Index('batch_open', ['created_at'], { where: IS_OPEN_BATCH })
@Index('batch_file', ['input_file'])
export class Batch {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'batch_pk' }) id!: string;
  @Text() project_id!: string;
  /** Key on whose behalf the batch uses models. */
  @Text() key_id!: string;
  @Text() endpoint!: BatchEndpoint;
  @Text() input_file!: string;
  @Text() completion_window!: string;
  /** Lifetime of the files with the results; `null`: no end. */
  @Int(optional) output_seconds!: number | null;
  @Json(optional) metadata!: Readonly<Record<string, string>> | null;
  @Text({ default: 'validating' }) status!: BatchStatus;
  /** Model of all requests; `null` if they name several, or before validation. */
  @Text(optional) model!: string | null;
  @Json(optional) errors!: readonly BatchProblem[] | null;
  @Int({ default: 0 }) total!: number;
  @Int({ default: 0 }) completed!: number;
  @Int({ default: 0 }) failed!: number;
  @Big({ default: 0 }) input_tokens!: number;
  @Big({ default: 0 }) output_tokens!: number;
  @Text(optional) output_file!: string | null;
  @Text(optional) error_file!: string | null;
  @Now() created_at!: Date;
  @Time() expires_at!: Date;
  @Json({ default: () => "'{}'" }) times!: Partial<BatchTimes>;
  /** API process that works on the batch, and the time until which its claim is valid. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  /** Time at which a process last began to work on the batch. */
  @Time(optional) taken_at!: Date | null;
  /** Time since which the batch has waited without an answer, and why; `null` while it proceeds. */
  @Time(optional) waiting_since!: Date | null;
  @Text(optional) waits_for!: string | null;
  /** No process works on the batch before this time. */
  @Time(optional) resume_at!: Date | null;
}

/** Line of the output or error file of a batch that has not ended. */
@Entity('batch_result')
export class BatchResult {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'batch_result_pk' }) batch_id!: string;
  /** Line of the input file, from 1. */
  @PrimaryColumn('int', { primaryKeyConstraintName: 'batch_result_pk' }) number!: number;
  @Column({ type: 'boolean' }) is_error!: boolean;
  @Text() line!: string;
}
