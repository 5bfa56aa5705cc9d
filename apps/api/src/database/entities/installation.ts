import { Entity, PrimaryColumn } from 'typeorm';
import { Big, Int, Now, Text, Time, optional } from '../columns.js';

/**
 * Single row about the server that this database was last used on, and the checks for expired leases. It is part of
 * dumps.
 */
@Entity('installation')
export class Installation {
  @PrimaryColumn('int', { primaryKeyConstraintName: 'installation_pk' }) id!: number;
  @Text() system_identifier!: string;
  @Int() timeline!: number;
  /** Counter that increases regularly. A value below one that an API process has seen reveals a restored database. */
  @Big({ default: 0 }) mark!: number;
  /** Time before which no lease is revoked. */
  @Now() expire_after!: Date;
  /** Time at which an API process last checked for expired leases. */
  @Time({ default: '-infinity' }) watched_at!: Date;
  /** Content of the marker file in the blob storage. */
  @Text(optional) blob_marker!: string | null;
  /** Key with which API processes authenticate each other. */
  @Text(optional) relay_key!: string | null;
}
