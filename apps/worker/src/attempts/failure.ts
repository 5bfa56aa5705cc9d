import { DomainError, isRetryable, type RunEventOf } from '@graft/contracts';
import { isDiskFull } from '../blobs/disk-full.js';

/** Returns the event that ends an attempt after an error outside the trainer. */
export function failureOf(error: unknown): RunEventOf<'failed'> {
  if (error instanceof DomainError) return failed(error.code, error.message, error.param);
  const message = error instanceof Error ? error.message : String(error);
  return failed(isDiskFull(error) ? 'disk_full' : 'io_error', message, null);
}

const failed = (code: string, message: string, param: string | null): RunEventOf<'failed'> => ({
  kind: 'failed',
  payload: { code, message, param, retryable: isRetryable(code) },
});
