import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sharedCheck } from './shared-check.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('shares a pending check and caches a success, but no failure', async () => {
  const ends: { done: () => void; fail: (error: Error) => void }[] = [];
  const ask = sharedCheck(() => new Promise<void>((done, fail) => ends.push({ done, fail })), 1000);
  const both = [ask(), ask()];
  vi.advanceTimersByTime(5000);
  both.push(ask());
  expect(ends).toHaveLength(1);
  ends[0]!.done();
  await Promise.all(both);
  vi.advanceTimersByTime(999);
  await ask();
  expect(ends).toHaveLength(1);
  vi.advanceTimersByTime(1);
  const fails = [ask(), ask()];
  expect(ends).toHaveLength(2);
  ends[1]!.fail(new Error('away'));
  for (const one of fails) await expect(one).rejects.toThrow('away');
  void ask();
  expect(ends).toHaveLength(3);
});
