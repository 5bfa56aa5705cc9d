// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { withJob } from './job-list.js';

const job = (id: string, created_at: number, status = 'queued'): JobObject =>
  ({ id, created_at, status }) as JobObject;
const shown = [job('e', 50), job('d', 40), job('c', 30)];
const ids = (jobs: readonly JobObject[]) => jobs.map(({ id }) => id).join('');

describe('a job that the stream reports', () => {
  it('takes its own place when it is shown already', () => {
    const changed = withJob(shown, job('d', 40, 'running'), true);
    expect(ids(changed)).toBe('edc');
    expect(changed[1]?.status).toBe('running');
  });

  it('is put on top when it is the newest', () =>
    expect(ids(withJob(shown, job('f', 60), true))).toBe('fedc'));

  it('is put between those before and after it', () =>
    expect(ids(withJob(shown, job('x', 45), true))).toBe('exdc'));

  it('is left out when it belongs to a page that was not asked for', () =>
    expect(ids(withJob(shown, job('a', 10), true))).toBe('edc'));

  it('is put at the end when all are shown', () =>
    expect(ids(withJob(shown, job('a', 10), false))).toBe('edca'));

  it('is the first of an empty list', () =>
    expect(ids(withJob([], job('a', 10), false))).toBe('a'));

  it('has one place among those of the same second', () => {
    const [two, one] = [job('b', 40), job('a', 40)];
    expect(withJob([two], one, false)).toEqual(withJob([one], two, false));
  });

  it('leaves the list in order whatever the order of arrival', () => {
    const all = Array.from({ length: 30 }, (_, n) => job(String(n), 100 + n));
    const page = all.slice(10).reverse();
    // One hundred changes of jobs in any order: what is shown stays a run of the newest.
    const after = Array.from({ length: 100 }, (_, n) => all[(n * 7) % 30]!).reduce(
      (now, changed) => withJob(now, changed, true) as JobObject[],
      page,
    );
    expect(after.map((one) => one.created_at)).toEqual(
      Array.from({ length: 20 }, (_, n) => 129 - n),
    );
  });
});
