import { Entity, Index, PrimaryColumn } from 'typeorm';
import { Int, Now, Text, Time, optional } from '../columns.js';

/** A job whose spans are sent to a collector, and how many of them are there. */
@Entity('trace_export')
@Index('trace_export_open', ['created_at'], { where: "status = 'open'" })
export class TraceExport {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'trace_export_pk' }) job_id!: string;
  @Text({ default: 'open' }) status!: 'open' | 'done' | 'refused';
  /** Number of the last attempt whose spans are there. */
  @Int({ default: 0 }) cursor!: number;
  /** Why the collector refused them, or why the last try came to nothing. */
  @Text(optional) error!: string | null;
  /** Tries in a row that came to nothing of its own doing, and when the next one is. */
  @Int({ default: 0 }) failures!: number;
  @Time({ default: () => 'now()' }) next_at!: Date;
  /** Which API process sends them, and until when that is sure. */
  @Text(optional) owner!: string | null;
  @Time(optional) owner_until!: Date | null;
  @Now() created_at!: Date;
}
