import { DomainError } from '@graft/contracts';

/** Of the file system, or of the database (SQLSTATE 53100). */
const CODES = /^(ENOSPC|EDQUOT|53100)$/;

/** The error in words if it says that a disk is full, else null. */
export function diskFull(error: unknown): DomainError | null {
  const code = String((error as { code?: unknown } | null)?.code);
  return CODES.test(code)
    ? new DomainError('disk_full', "the server's disk is full; free some space and try again")
    : null;
}
