import { Entity, PrimaryColumn } from 'typeorm';
import { Big, Int, Text } from '../columns.js';

/** One row: the server that this database was last used on. A dump carries it along. */
@Entity('installation')
export class Installation {
  @PrimaryColumn('int', { primaryKeyConstraintName: 'installation_pk' }) id!: number;
  @Text() system_identifier!: string;
  @Int() timeline!: number;
  /** Goes up now and then; what an API has seen of it never comes back. */
  @Big({ default: 0 }) mark!: number;
}
