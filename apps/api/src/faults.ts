import { DomainError, type ErrorCode } from '@graft/contracts';

/** What the service stands on, in words for whoever waits for it. */
export const PARTS = {
  storage: 'Storage is not available',
  disk: "The server's disk is full",
  database: 'The database is not available',
  graders: 'Graders in Python cannot be run',
  relay: 'No worker can be asked',
} as const;

export type Part = keyof typeof PARTS;

/**
 * - `own`: of what was asked for; it fails however often it is tried.
 * - `limit`: of the project, which has used up what it may use for now.
 * - `bug`: a defect of the server or of a worker.
 * - `unknown`: of none of the errors below.
 * - a part: it may work again later.
 */
export type Fault = 'own' | 'limit' | 'bug' | 'unknown' | Part;

/** What was asked for may be tried again later; that it failed says nothing of it. */
export const isPart = (fault: Fault): fault is Part => Object.hasOwn(PARTS, fault);

/** A part that is away, from whoever knows which. */
export class Outage extends DomainError {
  constructor(
    readonly part: Part,
    message: string,
    param: string | null = null,
    retryAfterSeconds: number | null = null,
  ) {
    super('unavailable', message, param, retryAfterSeconds);
  }
}

/** Our own codes that are not the asker's fault. `asked`: of whoever was asked. Every other code is `own`. */
const CODES: Partial<Record<ErrorCode, Fault | 'asked'>> = {
  unavailable: 'asked',
  io_error: 'asked',
  disk_full: 'disk',
  no_worker: 'relay',
  queue_full: 'relay',
  lost_worker: 'relay',
  displaced: 'relay',
  insufficient_quota: 'limit',
  rate_limit_exceeded: 'limit',
  internal_error: 'bug',
};

interface Foreign {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  /** Of a file. */
  readonly path?: unknown;
  readonly syscall?: unknown;
  /** Of every error of the S3 client. */
  readonly $metadata?: unknown;
}

/** SQLSTATEs, codes of the system, and the database driver's words where it has no code. The first that fits counts. */
const FOREIGN: readonly (readonly [RegExp, Fault])[] = [
  [/^(ENOSPC|EDQUOT|53100)$/, 'disk'],
  // Values that cannot be stored, constraints, and limits of the server.
  [/^(22|23|54)...$/, 'own'],
  // Statements that PostgreSQL does not understand, and errors that its functions raise.
  [/^(42|P0)...$/, 'bug'],
  [/^(?=.{5}$)(\d|F0|HV|XX)[0-9A-Z]+$/, 'database'],
  [/Connection terminated|timeout exceeded when trying to connect/, 'database'],
  // The connections of others fail with errors of their own.
  [
    /^(ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|EAI_AGAIN|ENOTFOUND)$/,
    'database',
  ],
  [
    /^(EIO|EROFS|EACCES|ENOENT|ENOTDIR|ESTALE|ELOOP|ENODEV|ENXIO|ENOTCONN|EREMOTEIO|EBUSY|EMFILE|ENFILE)$/,
    'storage',
  ],
];

/**
 * Whose fault an error is: the one table for everything that decides between waiting and blaming.
 * @param asked who was asked, for codes that do not say whose they are
 */
export function faultOf(error: unknown, asked: Part | 'own'): Fault {
  if (error instanceof Outage) return error.part;
  if (error instanceof DomainError) {
    const fault = CODES[error.code] ?? 'own';
    return fault === 'asked' ? asked : fault;
  }
  if (isBug(error)) return 'bug';
  const foreign = (error ?? {}) as Foreign;
  if (isOfS3(foreign)) return 'storage';
  // A program that is not there is no file of ours.
  if (String(foreign.syscall).startsWith('spawn')) return 'unknown';
  const said = String(foreign.code ?? foreign.message);
  const fault = FOREIGN.find(([pattern]) => pattern.test(said))?.[1] ?? 'unknown';
  // A network's file system fails as its network does.
  return fault === 'database' && typeof foreign.path === 'string' ? 'storage' : fault;
}

/** An outage that the system, the database or S3 tells of, in our words; null for any other error. */
export function outageOf(error: unknown): DomainError | null {
  if (error instanceof DomainError) return null;
  switch (faultOf(error, 'own')) {
    case 'disk':
      return new DomainError(
        'disk_full',
        "the server's disk is full; free some space and try again",
      );
    case 'database':
      return new Outage('database', 'the database is not responding; try again', null, 2);
    case 'storage':
      return new Outage('storage', 'storage is not available; try again', null, 2);
    default:
      return null;
  }
}

/** `fetch` throws a TypeError, too, for a network that fails, but names its cause. */
const isBug = (error: unknown): boolean =>
  (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError) &&
  error.cause === undefined;

const isOfS3 = ({ $metadata, name }: Foreign): boolean =>
  $metadata !== undefined || /^(Credentials|Token)ProviderError$/.test(String(name));
