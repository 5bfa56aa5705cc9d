import { DomainError, isRetryable, type RunEventOf } from '@graft/contracts';
import { isDiskFull } from '../blobs/disk-full.js';

/** What went wrong outside the trainer, as the event that ends the attempt. */
export function failureOf(error: unknown): RunEventOf<'failed'> {
  if (error instanceof DomainError) return failed(error.code, error.message, error.param);
  const message = error instanceof Error ? error.message : String(error);
  return failed(isDiskFull(error) ? 'disk_full' : 'io_error', message, null);
}

const failed = (code: string, message: string, param: string | null): RunEventOf<'failed'> => ({
  kind: 'failed',
  payload: { code, message, param, retryable: isRetryable(code) },
});
