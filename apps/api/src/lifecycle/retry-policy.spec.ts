import { ERROR_CODES, isRetryable, type ErrorCode } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { verdict, type AttemptEnd } from './retry-policy.js';

const job = (crash_count = 0, infra_count = 0, present_at_deaths = 0) => ({
  crash_count,
  infra_count,
  present_at_deaths,
});

const end = (code: string, retryable = true, blame: AttemptEnd['blame'] = null): AttemptEnd => ({
  code,
  retryable,
  blame,
});

/** Expected budgets by code; all other codes fail the job. */
const DECIDED: Partial<Record<ErrorCode, { count: string; once?: true }>> = {
  crash: { count: 'crash' },
  invalid_report: { count: 'crash' },
  preparation_failed: { count: 'crash' },
  oom_host: { count: 'crash', once: true },
  no_memory: { count: 'crash', once: true },
  io_error: { count: 'infra' },
  lost_worker: { count: 'infra' },
  hang: { count: 'infra' },
  disk_full: { count: 'none' },
  displaced: { count: 'none' },
  interrupted: { count: 'none' },
  damaged_checkpoint: { count: 'none' },
};

describe('verdict', () => {
  it.each(Object.keys(ERROR_CODES) as ErrorCode[])(
    'follows the table for %s, whatever the worker reports',
    (code) => {
      const decided = DECIDED[code];
      for (const retryable of [true, false]) {
        const first = verdict(job(), end(code, retryable), 1000);
        expect(first).toMatchObject(
          decided ? { then: 'requeue', count: decided.count } : { then: 'fail' },
        );
        const second = verdict(job(1), end(code, retryable), 1000);
        expect(second.then).toBe(decided && !decided.once ? 'requeue' : 'fail');
      }
      expect(isRetryable(code)).toBe(decided !== undefined);
    },
  );

  it.each(['constructor', 'toString', '__proto__'])('treats %s as an unknown code', (code) => {
    expect(verdict(job(), end(code), 1000)).toMatchObject({ then: 'requeue', count: 'crash' });
    expect(verdict(job(), end(code, false), 1000)).toEqual({ then: 'fail', advice: null });
  });

  it.each(['user_error', 'oom_heap', 'oom_gpu', 'nonfinite'])(
    'never retries %s, whatever the worker reports',
    (code) => {
      expect(verdict(job(), end(code), 1000).then).toBe('fail');
    },
  );

  it('retries a crash twice, but not a third time', () => {
    expect(verdict(job(0), end('crash'), 1000)).toMatchObject({ then: 'requeue', count: 'crash' });
    expect(verdict(job(1), end('crash'), 1000)).toMatchObject({ then: 'requeue', count: 'crash' });
    expect(verdict(job(2), end('crash'), 1000).then).toBe('fail');
  });

  it('retries a failure of the infrastructure up to 20 times', () => {
    expect(verdict(job(0, 19), end('lost_worker'), 1000)).toMatchObject({
      then: 'requeue',
      count: 'infra',
    });
    expect(verdict(job(0, 20), end('lost_worker'), 1000).then).toBe('fail');
    // After the first lost worker there is no delay beyond the lease.
    expect(verdict(job(0, 0), end('lost_worker'), 1000)).toMatchObject({ delayMs: 0 });
    expect(verdict(job(0, 1), end('lost_worker'), 1000)).not.toMatchObject({ delayMs: 0 });
  });

  it('retries oom_host once', () => {
    expect(verdict(job(0), end('oom_host'), 1000).then).toBe('requeue');
    expect(verdict(job(1), end('oom_host'), 1000).then).toBe('fail');
  });

  it('retries no_memory once, possibly on another worker', () => {
    expect(verdict(job(0), end('no_memory', false), 1000).then).toBe('requeue');
    const last = verdict(job(1), end('no_memory', false), 1000);
    expect(last).toMatchObject({
      then: 'fail',
      advice: expect.stringContaining('had enough free memory for the base model'),
    });
    expect(last).not.toMatchObject({ advice: expect.stringContaining('batch_size') });
  });

  it('retries after a full disk without counting it', () => {
    expect(verdict(job(2, 20), end('disk_full'), 5000)).toEqual({
      then: 'requeue',
      count: 'none',
      delayMs: 60_000,
    });
  });

  it('follows the worker for an unknown code', () => {
    expect(verdict(job(), end('invalid_training_file', false), 1000).then).toBe('fail');
    expect(verdict(job(), end('cosmic_ray'), 1000).then).toBe('requeue');
  });

  it('retries immediately, without counting it, after a failure of another job', () => {
    for (const spent of [job(0), job(2, 20), job(2, 20, 9)])
      expect(verdict(spent, end('displaced', true, 'other'), 5000)).toEqual({
        then: 'requeue',
        count: 'none',
        delayMs: 0,
      });
  });

  it.each(['crash', 'hang', 'oom_host', 'oom_gpu', 'oom_heap', 'cosmic_ray'])(
    'does not count a shared %s against a job until the job runs alone',
    (code) => {
      for (const deaths of [0, 1])
        expect(verdict(job(2, 20, deaths), end(code, false, 'shared'), 1000)).toMatchObject({
          then: 'requeue',
          count: 'none',
        });
      expect(verdict(job(2, 20, 2), end(code, false, 'shared'), 1000).then).toBe('fail');
      expect(verdict(job(2, 20, 1), end(code, false, 'own'), 1000).then).toBe('fail');
    },
  );

  it('counts a hang in the job’s own work as a crash', () => {
    expect(verdict(job(0), end('hang', true, 'own'), 1000)).toMatchObject({ count: 'crash' });
    expect(verdict(job(2), end('hang', true, 'own'), 1000)).toMatchObject({
      then: 'fail',
      advice: expect.stringContaining('it hung 3 times'),
    });
  });

  it('doubles the delay up to five minutes', () => {
    const delay = (failures: number): number => {
      const next = verdict(job(0, failures), end('hang'), 5000);
      return next.then === 'requeue' ? next.delayMs : 0;
    };
    for (let n = 0; n < 4; n++) expect(delay(n)).toBeGreaterThan(5000 * 2 ** n * 0.74);
    expect(delay(19)).toBeLessThanOrEqual(300_000 * 1.25);
  });
});
