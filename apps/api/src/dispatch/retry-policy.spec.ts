import { describe, expect, it } from 'vitest';
import { verdict } from './retry-policy.js';

const job = (crash_count = 0, infra_count = 0) => ({ crash_count, infra_count });

describe('verdict', () => {
  it.each(['user_error', 'oom_heap', 'oom_gpu', 'nonfinite'])(
    'never repeats %s, whatever the worker says',
    (code) => {
      expect(verdict(job(), code, true, 1000).then).toBe('fail');
    },
  );

  it('repeats a crash twice, and not a third time', () => {
    expect(verdict(job(0), 'crash', true, 1000)).toMatchObject({ then: 'requeue', count: 'crash' });
    expect(verdict(job(1), 'crash', true, 1000)).toMatchObject({ then: 'requeue', count: 'crash' });
    expect(verdict(job(2), 'crash', true, 1000).then).toBe('fail');
  });

  it('gives the infrastructure twenty tries', () => {
    expect(verdict(job(0, 19), 'lost_worker', true, 1000)).toMatchObject({
      then: 'requeue',
      count: 'infra',
    });
    expect(verdict(job(0, 20), 'lost_worker', true, 1000).then).toBe('fail');
    // The first lost worker costs no waiting beyond its lease.
    expect(verdict(job(0, 0), 'lost_worker', true, 1000)).toMatchObject({ delayMs: 0 });
    expect(verdict(job(0, 1), 'lost_worker', true, 1000)).not.toMatchObject({ delayMs: 0 });
  });

  it('gives host memory one more try', () => {
    expect(verdict(job(0), 'oom_host', true, 1000).then).toBe('requeue');
    expect(verdict(job(1), 'oom_host', true, 1000).then).toBe('fail');
  });

  it('holds on a full disk without counting it', () => {
    expect(verdict(job(2, 20), 'disk_full', true, 5000)).toEqual({
      then: 'requeue',
      count: 'none',
      delayMs: 60_000,
    });
  });

  it('follows the worker for a code it does not know', () => {
    expect(verdict(job(), 'invalid_training_file', false, 1000).then).toBe('fail');
    expect(verdict(job(), 'cosmic_ray', true, 1000).then).toBe('requeue');
  });

  it('doubles the delay up to five minutes', () => {
    const delay = (failures: number): number => {
      const next = verdict(job(0, failures), 'hang', true, 5000);
      return next.then === 'requeue' ? next.delayMs : 0;
    };
    for (let n = 0; n < 4; n++) expect(delay(n)).toBeGreaterThan(5000 * 2 ** n * 0.74);
    expect(delay(19)).toBeLessThanOrEqual(300_000 * 1.25);
  });
});
