import { expect, it } from 'vitest';
import { limitWarning, type Limit } from './limit-text.js';

const of = (
  name: Limit['name'],
  used: number,
  limit: number | null,
  resets_at?: number,
): Limit => ({
  name,
  used,
  limit,
  ...(resets_at === undefined ? {} : { resets_at }),
});

it('omits limits that are not near or not set', () => {
  expect(limitWarning(of('queued_jobs', 7, 10))).toBeNull();
  expect(limitWarning(of('queued_jobs', 1e6, null))).toBeNull();
  expect(limitWarning(of('running_jobs', 9, 10))).toBeNull(); // A job waits only if all are in use.
  expect(limitWarning(of('chats', 10, 10))).toBeNull(); // Chats do not affect jobs.
});

it('reports limits that are near or reached', () => {
  expect(limitWarning(of('queued_jobs', 8, 10))).toEqual({
    refuses: false,
    text: '8 queued jobs in this project (limit 10).',
  });
  expect(limitWarning(of('queued_jobs', 1, 1))).toEqual({
    refuses: true,
    text: '1 queued job in this project (limit 1); new jobs are rejected until one has started.',
  });
  expect(limitWarning(of('tokens_per_day', 2000, 1500, 1767225600))).toEqual({
    refuses: true,
    text: '2,000 tokens used today in this project (limit 1,500); new jobs are rejected until 00:00 UTC.',
  });
  expect(limitWarning(of('storage_bytes', 9e9, 1e10))?.text).toMatch(/^9.0 GB stored .* 10.0 GB/);
  expect(limitWarning(of('running_jobs', 2, 2))).toMatchObject({ refuses: false });
});

it('treats a limit of 0 as reached', () =>
  expect(limitWarning(of('queued_jobs', 0, 0))).toMatchObject({ refuses: true }));
