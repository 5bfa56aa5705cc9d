import { Entity, Index, PrimaryColumn } from 'typeorm';
import { Int, Now, Text, Time, optional } from '../columns.js';

/** A job whose spans are sent to a collector, and how many were sent. */
@Entity('trace_export')
@Index('trace_export_open', ['created_at'], { where: "status = 'open'" })
export class TraceExport {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'trace_export_pk' }) job_id!: string;
  @Text({ default: 'open' }) status!: 'open' | 'done' | 'refused';
  /** Number of the last attempt whose spans were sent. */
  @Int({ default: 0 }) cursor!: number;
  /** Reason why the collector rejected the spans, or why the last attempt to send them failed. */
  @Text(optional) error!: string | null;
  /** Consecutive failures to send that the job did not cause, and the time of the next attempt. */
  @Int({ default: 0 }) failures!: number;
  @Time({ default: () => 'now()' }) next_at!: Date;
  /** API process that sends the spans, and the time until which its claim is valid. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  @Now() created_at!: Date;
}
