import { Entity, PrimaryColumn } from 'typeorm';
import { Big, Int, Now, Text, Time, optional } from '../columns.js';

/** One row: the server that this database was last used on, and its leases' watch. A dump carries it along. */
@Entity('installation')
export class Installation {
  @PrimaryColumn('int', { primaryKeyConstraintName: 'installation_pk' }) id!: number;
  @Text() system_identifier!: string;
  @Int() timeline!: number;
  /** Goes up now and then; what an API has seen of it never comes back. */
  @Big({ default: 0 }) mark!: number;
  /** No lease is taken away before. */
  @Now() expire_after!: Date;
  /** When an API process last looked for leases that ran out. */
  @Time({ default: '-infinity' }) watched_at!: Date;
  /** What a file in the folder or bucket of the blobs must say. */
  @Text(optional) blob_marker!: string | null;
  /** What its API processes know each other by. */
  @Text(optional) relay_key!: string | null;
}
