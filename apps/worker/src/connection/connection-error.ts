import { status, type ServiceError } from '@grpc/grpc-js';

/** Reason why a connection ended, as text for the worker's operator, and how to retry. */
export interface ConnectionProblem {
  readonly message: string;
  /** Whether an operator must change something, so that retries are rare and logged as errors. */
  readonly idle: boolean;
  /** Whether another worker has replaced this one, so that retries are useless. */
  readonly isReplaced?: boolean;
}

/** Gateway that the worker connects to. */
interface Gateway {
  readonly address: string;
  readonly tls: boolean;
}

/** Text that grpc-js wraps around the reason. */
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
        message: `${address} rejected the join token: ${detail}. Set a valid token with --token or GRAFT_WORKER_TOKEN`,
        idle: true,
      };
    case status.PERMISSION_DENIED:
      return { message: `${address} denied access to this worker: ${detail}`, idle: true };
    case status.FAILED_PRECONDITION:
      if (!welcomed) break;
      return {
        message: `${address} ended the connection: ${detail}. Use a different --home for each worker`,
        idle: false,
        isReplaced: true,
      };
    case status.UNIMPLEMENTED:
      return {
        message: `${address} responds but is not a Graft worker gateway (${detail}). Set --url to the gRPC port that the API logs at start, not its HTTP port`,
        idle: true,
      };
    case status.UNAVAILABLE:
      if (tls && /certificate|altnames/i.test(detail))
        return {
          message: `${address} has a certificate that this worker does not trust: ${detail}. Set --ca-file to the certificate of its issuer; the host in --url must match the certificate`,
          idle: true,
        };
      if (tls && /wrong version number/i.test(detail))
        return {
          message: `${address} does not use TLS (${detail}). If the gateway runs without TLS, use a --url that starts with grpc://`,
          idle: true,
        };
      if (!tls && !welcomed && detail.startsWith('Failed to connect'))
        return {
          message: `${address} accepted the connection and closed it (${detail}). If the gateway uses TLS, use a --url that starts with grpcs://`,
          idle: false,
        };
      if (/http\/?1|parse error|protocol error/i.test(detail))
        return {
          message: `${address} does not use gRPC (${detail}). Set --url to the API's gRPC port, not its HTTP port`,
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

/** Whether the control plane rejected a request because the worker no longer holds the lease. */
export function isStale(error: unknown): boolean {
  return hasCode(error, [status.FAILED_PRECONDITION, status.PERMISSION_DENIED]);
}

/** Whether a retry may succeed, because the other side is unavailable, busy or restarting. */
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

/** Whether the control plane has no space; the details state which. */
export function isFull(error: unknown): error is ServiceError {
  return hasCode(error, [status.RESOURCE_EXHAUSTED]);
}

function hasCode(error: unknown, codes: readonly number[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(Number(error.code));
}
