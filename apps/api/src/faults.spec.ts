import { DomainError, ERROR_CODES, type ErrorCode } from '@graft/contracts';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  faultOf,
  Outage,
  toOutageError,
  DEPENDENCIES,
  type Fault,
  type Dependency,
} from './faults.js';

/** Error codes that do not blame the request. `asked` stands for the part that was asked. */
const NOT_OWN: Partial<Record<ErrorCode, Fault | 'asked'>> = {
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

const DOCS = readFileSync(
  new URL('../../../docs/internals/reliability.md', import.meta.url),
  'utf8',
).replace(/^[^]*\n## Who is blamed for an error\n|\n## [^]*$/g, '');

describe('faultOf', () => {
  it.each(Object.keys(ERROR_CODES) as ErrorCode[])('%s', (code) => {
    const error = new DomainError(code, 'as it came');
    const fault = NOT_OWN[code] ?? 'own';
    for (const asked of [...(Object.keys(DEPENDENCIES) as Dependency[]), 'own'] as const)
      expect(faultOf(error, asked)).toBe(fault === 'asked' ? asked : fault);
    expect(DOCS.includes(`\`${code}\``)).toBe(fault !== 'own');
  });

  it.each(Object.keys(DEPENDENCIES) as Dependency[])(
    'returns the part of an outage of %s',
    (part) => {
      expect(faultOf(new Outage(part, 'as it came'), 'own')).toBe(part);
    },
  );

  it.each([
    ['ENOSPC', 'disk'],
    ['EDQUOT', 'disk'],
    ['53100', 'disk'],
    // lock_timeout and statement_timeout, a deadlock, an I/O error, too many connections, a shutdown, a standby
    ['55P03', 'database'],
    ['57014', 'database'],
    ['40P01', 'database'],
    ['58030', 'database'],
    ['53300', 'database'],
    ['57P01', 'database'],
    ['25006', 'database'],
    ['08006', 'database'],
    ['XX000', 'database'],
    ['22P05', 'own'],
    ['P0001', 'bug'],
    ['23505', 'own'],
    ['54000', 'own'],
    ['42601', 'bug'],
    ['ECONNREFUSED', 'database'],
    ['ECONNRESET', 'database'],
    ['ETIMEDOUT', 'database'],
    ['EHOSTUNREACH', 'database'],
    ['EPIPE', 'database'],
    ['EAI_AGAIN', 'database'],
    ['EIO', 'storage'],
    ['ENOENT', 'storage'],
    ['ESTALE', 'storage'],
    ['EACCES', 'storage'],
    ['E2BIG', 'unknown'],
    ['ERR_STREAM_PREMATURE_CLOSE', 'unknown'],
  ] as const)('classifies %s', (code, fault) => {
    expect(faultOf(Object.assign(new Error('as it came'), { code }), 'relay')).toBe(fault);
  });

  it.each([
    [new Error('Connection terminated unexpectedly'), 'database'],
    [new Error('timeout exceeded when trying to connect'), 'database'],
    [{ code: 'ETIMEDOUT', syscall: 'stat', path: '/mnt/blobs' }, 'storage'],
    [{ code: 'ENOENT', syscall: 'spawn python', path: 'python' }, 'unknown'],
    [{ name: 'ServiceUnavailable', $metadata: { httpStatusCode: 503 } }, 'storage'],
    [{ name: 'TimeoutError', code: 'ECONNRESET', $metadata: { attempts: 3 } }, 'storage'],
    [{ name: 'CredentialsProviderError', message: 'no credentials' }, 'storage'],
    [new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } }), 'unknown'],
    [new TypeError('files.map is not a function'), 'bug'],
    [new ReferenceError('files is not defined'), 'bug'],
    [new RangeError('Invalid array length'), 'bug'],
    [new Error('as it came'), 'unknown'],
    [null, 'unknown'],
  ] as const)('%o', (error, fault) => {
    expect(faultOf(error, 'graders')).toBe(fault);
  });

  it('has a message for users if it is an outage', () => {
    const messageOf = (code: string): string | undefined =>
      toOutageError(Object.assign(new Error('secret'), { code }))?.message;
    expect(messageOf('EIO')).toBe('storage is not available; try again');
    expect(messageOf('57014')).toBe('the database is not responding; try again');
    expect(messageOf('ENOSPC')).toMatch(/^the server's disk is full/);
    expect(messageOf('22P05')).toBeUndefined();
    expect(toOutageError(new DomainError('unavailable', 'as it came'))).toBeNull();
  });
});
