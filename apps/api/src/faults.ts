import { DomainError, type ErrorCode } from '@graft/contracts';

/** What the service stands on, in words for whoever waits for it. */
export const PARTS = {
  storage: 'Storage is not available',
  disk: "The server's disk is full",
  database: 'The database is not available',
} as const;

export type Part = keyof typeof PARTS;

/**
 * - `own`: of what was asked for; it fails however often it is tried.
 * - `bug`: a defect of the server.
 * - a part: it may work again later.
 */
export type Fault = 'own' | 'bug' | Part;

/** Our own codes that are not the asker's fault. `asked`: of the part that was asked. Every other code is `own`. */
const CODES: Partial<Record<ErrorCode, Part | 'asked'>> = {
  unavailable: 'asked',
  no_worker: 'asked',
  lost_worker: 'asked',
  displaced: 'asked',
  io_error: 'asked',
  internal_error: 'asked',
  disk_full: 'disk',
};

/** Codes of the file system and SQLSTATEs, and the driver's words where it has no code. Every other error is of the part that was asked. */
const FOREIGN: readonly (readonly [RegExp, Part])[] = [
  [/^(ENOSPC|EDQUOT|53100)$/, 'disk'],
  [/^(?=.{5}$)(\d|F0|HV|P0|XX)[0-9A-Z]+$/, 'database'],
  [/Connection terminated|timeout exceeded when trying to connect/, 'database'],
];

/** Whose fault an error is. @param asked the part that was asked, for errors that name none */
export function faultOf(error: unknown, asked: Part): Fault {
  if (error instanceof DomainError) {
    const part = CODES[error.code] ?? 'own';
    return part === 'asked' ? asked : part;
  }
  if (isBug(error)) return 'bug';
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const said = String(code ?? message);
  return FOREIGN.find(([pattern]) => pattern.test(said))?.[1] ?? asked;
}

/** `fetch` throws a TypeError, too, for a network that fails, but names its cause. */
const isBug = (error: unknown): boolean =>
  (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError) &&
  error.cause === undefined;
