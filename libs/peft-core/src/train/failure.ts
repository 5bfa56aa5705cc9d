// What went wrong in a run, as the class its attempt ends with.
import { DomainError } from '@graft/contracts';
import type { FactOfRun } from './facts.js';

export function failureOf(error: unknown): FactOfRun<'failed'> {
  const failed = (
    code: FactOfRun<'failed'>['code'],
    message: string,
    retryable: boolean,
    param: string | null = null,
  ) => ({ type: 'failed', code, message, param, retryable }) as const;
  if (error instanceof DomainError)
    return failed(error.code, error.message, RETRYABLE.has(error.code), error.param);
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return failed('disk_full', `the disk is full: ${message}`, true);
  if (code === 'EIO') return failed('io_error', message, true);
  if (/can't allocate memory|bad_alloc/.test(message)) {
    return failed(
      'oom_host',
      'the machine ran out of memory; use a smaller batch or max_seq_len',
      true,
    );
  }
  if (/CUDA out of memory/.test(message)) {
    return failed(
      'oom_gpu',
      'the GPU ran out of memory; use a smaller batch with more accumulation',
      false,
    );
  }
  return failed('crash', message ?? String(error), true);
}

const RETRYABLE = new Set<string>([
  'disk_full',
  'io_error',
  'oom_host',
  'lost_worker',
  'hang',
  'crash',
]);
