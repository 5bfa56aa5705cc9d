import { DomainError, type ErrorCode } from '@graft/contracts';

/** The parts that the service depends on, each with the message that users read while it is away. */
export const DEPENDENCIES = {
  storage: 'Storage is not available',
  disk: "The server's disk is full",
  database: 'The database is not available',
  graders: 'Python graders cannot be run',
  relay: 'No worker can be reached',
  readers: 'Files cannot be read at the moment',
} as const;

export type Dependency = keyof typeof DEPENDENCIES;

/**
 * - `own`: the request itself is to blame. Retrying does not help.
 * - `limit`: the project has reached one of its limits. It may continue later.
 * - `bug`: the server or a worker has a defect.
 * - `unknown`: no entry of the tables below matches the error.
 * - a part: this part is away. It may work again later.
 */
export type Fault = 'own' | 'limit' | 'bug' | 'unknown' | Dependency;

/** Whether a part is away. The request is not to blame and may be tried again later. */
export const isDependency = (fault: Fault): fault is Dependency =>
  Object.hasOwn(DEPENDENCIES, fault);

/** An error that knows which part is away. */
export class Outage extends DomainError {
  constructor(
    readonly dependency: Dependency,
    message: string,
    param: string | null = null,
    retryAfterSeconds: number | null = null,
  ) {
    super('unavailable', message, param, retryAfterSeconds);
  }
}

/** Graft's codes that do not blame the request. `contacted`: the part that was contacted. Other codes are `own`. */
const CODES: Partial<Record<ErrorCode, Fault | 'contacted'>> = {
  unavailable: 'contacted',
  io_error: 'contacted',
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
  /** The path of the file that an operation failed on. */
  readonly path?: unknown;
  readonly syscall?: unknown;
  /** Present in every error of the S3 client. */
  readonly $metadata?: unknown;
}

/** SQLSTATEs, error codes of the system, and messages of driver errors without a code. The first match counts. */
const FOREIGN: readonly (readonly [RegExp, Fault])[] = [
  [/^(ENOSPC|EDQUOT|53100)$/, 'disk'],
  // These are values that cannot be stored, violated constraints and limits of PostgreSQL.
  [/^(22|23|54)...$/, 'own'],
  // PostgreSQL does not understand the statement, or a function in the database raised an error.
  [/^(42|P0)...$/, 'bug'],
  [/^(?=.{5}$)(\d|F0|HV|XX)[0-9A-Z]+$/, 'database'],
  [/Connection terminated|timeout exceeded when trying to connect/, 'database'],
  // Connections to S3 and to workers fail with other errors.
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
 * Returns whose fault an error is. All code that decides whether to wait or to blame the request calls it.
 * @param contacted the part that was contacted, for codes that do not name the part that is unavailable
 */
export function faultOf(error: unknown, contacted: Dependency | 'own'): Fault {
  if (error instanceof Outage) return error.dependency;
  if (error instanceof DomainError) {
    const fault = CODES[error.code] ?? 'own';
    return fault === 'contacted' ? contacted : fault;
  }
  if (isBug(error)) return 'bug';
  const foreign = (error ?? {}) as Foreign;
  if (isOfS3(foreign)) return 'storage';
  // A missing program does not mean that storage is away.
  if (String(foreign.syscall).startsWith('spawn')) return 'unknown';
  const reason = String(foreign.code ?? foreign.message);
  const fault = FOREIGN.find(([pattern]) => pattern.test(reason))?.[1] ?? 'unknown';
  // A network file system fails with the errors of its network.
  return fault === 'database' && typeof foreign.path === 'string' ? 'storage' : fault;
}

/** Converts an outage of the system, the database or S3 to a DomainError. Returns null for any other error. */
export function toOutageError(error: unknown): DomainError | null {
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

/** `fetch` also throws a TypeError when the network fails, but that error has a cause. */
const isBug = (error: unknown): boolean =>
  (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError) &&
  error.cause === undefined;

const isOfS3 = ({ $metadata, name }: Foreign): boolean =>
  $metadata !== undefined || /^(Credentials|Token)ProviderError$/.test(String(name));
