import { Entity, PrimaryColumn } from 'typeorm';
import { Int, Text } from '../columns.js';

/** One row: the server that this database was last used on. A dump carries it along. */
@Entity('installation')
export class Installation {
  @PrimaryColumn('int', { primaryKeyConstraintName: 'installation_pk' }) id!: number;
  @Text() system_identifier!: string;
  @Int() timeline!: number;
}
