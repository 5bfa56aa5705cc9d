import { DomainError } from '@graft/contracts';

/** Maximum number of columns of a table. */
export const MAX_COLUMNS = 4096;

export type Row = Readonly<Record<string, unknown>>;

/** A row with its number in the file, or the reason why it could not be read. */
export interface NumberedRow {
  readonly number: number;
  readonly row: Row | null;
  readonly reason?: string;
}

export const unreadable = (message: string): DomainError =>
  new DomainError('invalid_training_file', message, 'file');
