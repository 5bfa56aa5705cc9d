import { Column, DeleteDateColumn, type ColumnOptions } from 'typeorm';

// The column kinds in use, so that an entity reads as a list of names and types.

const asNumber = {
  to: (value: number | null): number | null => value,
  from: (value: string | null): number | null => (value === null ? null : Number(value)),
};

export const Text = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'text', ...options });
export const Int = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'int', ...options });
/** Counts that outgrow 32 bits; arrive as numbers. */
export const Big = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'bigint', transformer: asNumber, ...options });
export const Float = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'float8', ...options });
export const Json = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'jsonb', ...options });
export const Time = (options: ColumnOptions = {}): PropertyDecorator =>
  Column({ type: 'timestamptz', ...options });
export const Now = (): PropertyDecorator => Column({ type: 'timestamptz', default: () => 'now()' });
/** When it was deleted: repositories leave out such rows unless they are asked; SQL has to do so itself. */
export const DeletedAt = (): PropertyDecorator => DeleteDateColumn({ type: 'timestamptz' });
/** A nullable column of the kind. */
export const optional = { nullable: true } as const;
