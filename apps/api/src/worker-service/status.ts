import { status, type ServiceError } from '@grpc/grpc-js';
import { DomainError, type ErrorCode } from '@graft/contracts';
import { toOutageError } from '../faults.js';
import { log } from '../log.js';

const STATUS: Partial<Record<ErrorCode, status>> = {
  invalid_api_key: status.UNAUTHENTICATED,
  insufficient_scope: status.PERMISSION_DENIED,
  not_found: status.NOT_FOUND,
  conflict: status.FAILED_PRECONDITION,
  invalid_state: status.FAILED_PRECONDITION,
  unsupported: status.FAILED_PRECONDITION,
  invalid_value: status.INVALID_ARGUMENT,
  // A retry would not help.
  file_too_large: status.INVALID_ARGUMENT,
  insufficient_quota: status.RESOURCE_EXHAUSTED,
  disk_full: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
};

/** Converts an error to a gRPC status. Messages of our own errors are sent; details of all others are not. */
export function grpcError(error: unknown): Partial<ServiceError> {
  const domain = error instanceof DomainError ? error : toOutageError(error);
  if (domain !== error) log.error({ err: error }, 'gRPC call failed');
  if (domain) return { code: STATUS[domain.code] ?? status.INTERNAL, details: domain.message };
  return {
    code: status.UNAVAILABLE,
    details: 'the control plane could not handle this call; try again',
  };
}
