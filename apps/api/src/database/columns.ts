import { Column, DeleteDateColumn, type ColumnOptions } from 'typeorm';

// Decorators for the column types in use, so that an entity reads as a list of names and types.

const asNumber = {
  to: (value: number | null): number | null => value,
  from: (value: string | null): number | null => (value === null ? null : Number(value)),
};

export const Text = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'text', ...options });
export const Int = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'int', ...options });
/** Column for counts beyond 32 bits, which are read as numbers. */
export const Big = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'bigint', transformer: asNumber, ...options });
export const Float = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'float8', ...options });
export const Json = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'jsonb', ...options });
export const Time = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'timestamptz', ...options });
export const Now = (): PropertyDecorator => Column({ type: 'timestamptz', default: () => 'now()' });
/** Column with the time of deletion. Repositories exclude deleted rows by default; SQL must do so itself. */
export const DeletedAt = (): PropertyDecorator => DeleteDateColumn({ type: 'timestamptz' });
/** Options of a nullable column. */
export const optional = { nullable: true } as const;
