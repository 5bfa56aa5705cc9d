import { DomainError, ERROR_CODES, type ErrorCode } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { faultOf } from './faults.js';

/** Ends of a run that are its own doing, though HTTP would answer them with 5xx. */
const OWN: readonly ErrorCode[] = [
  'no_memory',
  'oom_host',
  'oom_heap',
  'oom_gpu',
  'damaged_checkpoint',
  'invalid_report',
  'preparation_failed',
  'nonfinite',
  'hang',
  'crash',
];

describe('whose fault an error is', () => {
  it.each(Object.keys(ERROR_CODES) as ErrorCode[])('%s', (code) => {
    const isOwn = ERROR_CODES[code].status < 500 || OWN.includes(code);
    const fault = code === 'disk_full' ? 'disk' : isOwn ? 'own' : 'storage';
    expect(faultOf(new DomainError(code, 'as it came'), 'storage')).toBe(fault);
  });

  it.each([
    [{ code: 'ENOSPC' }, 'disk'],
    [{ code: '53100' }, 'disk'],
    [{ code: '55P03' }, 'database'],
    [{ code: 'XX000' }, 'database'],
    [new Error('Connection terminated unexpectedly'), 'database'],
    [{ code: 'EIO' }, 'storage'],
    [{ code: 'EPERM' }, 'storage'],
    [{ code: 'E2BIG' }, 'storage'],
    [{ name: 'ServiceUnavailable', $metadata: { httpStatusCode: 503 } }, 'storage'],
    [new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } }), 'storage'],
    [new TypeError('files.map is not a function'), 'bug'],
    [new RangeError('Invalid array length'), 'bug'],
    [null, 'storage'],
  ])('%o', (error, fault) => {
    expect(faultOf(error, 'storage')).toBe(fault);
  });
});
