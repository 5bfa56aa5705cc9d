import { status, type ServiceError } from '@grpc/grpc-js';

/** Why a connection ended, in words for whoever runs the worker, and when to try again. */
export interface ConnectionProblem {
  readonly message: string;
  /** Waiting will not help by itself: someone must change something, so we ask rarely and say so. */
  readonly idle: boolean;
  /** Nothing will help: another worker has this one's place. */
  readonly isReplaced?: boolean;
}

/** Where the worker connects to, and how. */
interface Gateway {
  readonly address: string;
  readonly tls: boolean;
}

/** What grpc-js wraps around the reason. */
const WRAPPED = /^No connection established\. Last error: (.*?)\s*\. Resolution note: $/s;

export function explainConnectionError(
  error: ServiceError,
  { address, tls }: Gateway,
  welcomed: boolean,
): ConnectionProblem {
  const detail = (error.details || error.message).replace(WRAPPED, '$1');
  switch (error.code) {
    case status.UNAUTHENTICATED:
      return {
        message: `${address} refused the join token: ${detail}. Give the control plane's current one with --token or GRAFT_WORKER_TOKEN`,
        idle: true,
      };
    case status.PERMISSION_DENIED:
      return { message: `${address} denied access to this worker: ${detail}`, idle: true };
    case status.FAILED_PRECONDITION:
      if (!welcomed) break;
      return {
        message: `${address} ended the connection: ${detail}. Give each worker a --home of its own`,
        idle: false,
        isReplaced: true,
      };
    case status.UNIMPLEMENTED:
      return {
        message: `${address} answers, but it is not a Graft worker gateway (${detail}). --url takes the gRPC port that the API prints at start, not its HTTP port`,
        idle: true,
      };
    case status.UNAVAILABLE:
      if (tls && /certificate|altnames/i.test(detail))
        return {
          message: `${address} shows a certificate that this worker does not trust: ${detail}. --ca-file takes the certificate of the authority that issued it; the host in --url must be one that it names`,
          idle: true,
        };
      if (tls && /wrong version number/i.test(detail))
        return {
          message: `${address} does not speak TLS (${detail}). Is the gateway without it? Then --url begins with grpc://`,
          idle: true,
        };
      if (!tls && !welcomed && detail.startsWith('Failed to connect'))
        return {
          message: `${address} took the connection and closed it (${detail}). Does the gateway speak TLS? Then --url begins with grpcs://`,
          idle: false,
        };
      if (/http\/?1|parse error|protocol error/i.test(detail))
        return {
          message: `${address} does not speak gRPC (${detail}). --url takes the API's gRPC port, not its HTTP port`,
          idle: true,
        };
      return {
        message: welcomed
          ? `the connection to ${address} was lost: ${detail}`
          : `cannot connect to ${address}: ${detail}`,
        idle: false,
      };
    default:
      break;
  }
  return {
    message: `the connection to ${address} ended: ${status[error.code] ?? error.code} ${detail}`,
    idle: false,
  };
}

/** The control plane says that this (job, attempt) is not ours any more. */
export function isStale(error: unknown): boolean {
  return hasCode(error, [status.FAILED_PRECONDITION, status.PERMISSION_DENIED]);
}

/** Another try may succeed: the other side is away, busy or restarting. */
export function isTransient(error: unknown): boolean {
  return hasCode(error, [
    status.UNAVAILABLE,
    status.RESOURCE_EXHAUSTED,
    status.ABORTED,
    status.INTERNAL,
    status.UNKNOWN,
    status.DEADLINE_EXCEEDED,
    status.CANCELLED,
    status.UNAUTHENTICATED,
  ]);
}

/** The control plane has no room; it says so in the details. */
export function isFull(error: unknown): error is ServiceError {
  return hasCode(error, [status.RESOURCE_EXHAUSTED]);
}

function hasCode(error: unknown, codes: readonly number[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(Number(error.code));
}
