import { expect, it } from 'vitest';
import { Settings } from '../config.js';
import { RateLimits } from './rate-limits.js';

const limits = (requestsPerMinute: number) =>
  new RateLimits(new Settings({ home: '/', requestsPerMinute }, ''));

it('allows a minute of requests at once, then as many as time gives back', () => {
  const bucket = limits(60);
  for (let n = 59; n >= 0; n--)
    expect(bucket.take('a', 0)).toMatchObject({ limit: 60, remaining: n, waitMs: 0 });
  expect(bucket.take('a', 0)).toEqual({ limit: 60, remaining: 0, resetMs: 60_000, waitMs: 1000 });
  expect(bucket.take('a', 400)).toMatchObject({ waitMs: 600 });
  expect(bucket.take('a', 1000)).toMatchObject({ remaining: 0, waitMs: 0, resetMs: 60_000 });
  expect(bucket.take('a', 1001)?.waitMs).toBeGreaterThan(0);
  // However long nothing came, no more than a minute's worth.
  expect(bucket.take('a', 1e9)).toMatchObject({ remaining: 59 });
});

it('counts keys apart, and 0 limits nothing', () => {
  const bucket = limits(1);
  expect(bucket.take('a', 0)?.waitMs).toBe(0);
  expect(bucket.take('a', 0)?.waitMs).toBe(60_000);
  expect(bucket.take('b', 0)?.waitMs).toBe(0);
  expect(limits(0).take('a', 0)).toBeNull();
});
