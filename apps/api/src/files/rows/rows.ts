import { DomainError } from '@graft/contracts';

/** Of a table. */
export const MAX_COLUMNS = 4096;

export type Row = Readonly<Record<string, unknown>>;

/** A row as people count them in the file at hand; the reason where it could not be read. */
export interface NumberedRow {
  readonly number: number;
  readonly row: Row | null;
  readonly reason?: string;
}

export const unreadable = (message: string): DomainError =>
  new DomainError('invalid_training_file', message, 'file');
