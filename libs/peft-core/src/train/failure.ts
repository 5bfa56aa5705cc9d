// Maps the error of a run to the error class of its attempt.
import { DomainError, isRetryable, type ErrorCode } from '@graft/contracts';
import type { FactOfRun } from './facts.js';

export function failureOf(error: unknown): FactOfRun<'failed'> {
  if (error instanceof DomainError) return failed(error.code, error.message, error.param);
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return failed('disk_full', `the disk is full: ${message}`);
  if (code === 'EIO') return failed('io_error', message);
  if (/can't allocate memory|bad_alloc/.test(message))
    return failed('oom_host', 'the machine ran out of memory; use a smaller batch or max_seq_len');
  if (/CUDA out of memory/.test(message))
    return failed(
      'oom_gpu',
      'the GPU ran out of memory; use a smaller batch with more accumulation',
    );
  return failed('crash', message ?? String(error));
}

/** Whether the error makes the device unusable for every run of the process. */
export const isFatal = (error: unknown): boolean =>
  error instanceof Error && /CUDA error/.test(error.message);

function failed(
  code: ErrorCode,
  message: string,
  param: string | null = null,
): FactOfRun<'failed'> {
  return { type: 'failed', code, message, param, retryable: isRetryable(code) };
}
