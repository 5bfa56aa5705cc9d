// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { act, cleanup, configure, render, waitFor } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { listOf, serve, type Served } from '../../test/served.js';
import { Answers } from '../api/loaded.js';
import { useJobList, withJob, type JobList } from './job-list.js';
import { parseQuery } from './job-query.js';

const job = (id: string, created_at: number, status = 'queued'): JobObject =>
  ({ id, created_at, status }) as JobObject;
const shown = [job('e', 50), job('d', 40), job('c', 30)];
const ids = (jobs: readonly JobObject[]) => jobs.map(({ id }) => id).join('');

describe('a job that the stream reports', () => {
  it('keeps its position if it is already listed', () => {
    const changed = withJob(shown, job('d', 40, 'running'), true);
    expect(ids(changed)).toBe('edc');
    expect(changed[1]?.status).toBe('running');
  });

  it('is placed on top if it is the newest', () =>
    expect(ids(withJob(shown, job('f', 60), true))).toBe('fedc'));

  it('is placed between older and newer jobs', () =>
    expect(ids(withJob(shown, job('x', 45), true))).toBe('exdc'));

  it('is left out if it belongs to a page that is not loaded', () =>
    expect(ids(withJob(shown, job('a', 10), true))).toBe('edc'));

  it('is placed at the end if all jobs are loaded', () =>
    expect(ids(withJob(shown, job('a', 10), false))).toBe('edca'));

  it('is the first of an empty list', () =>
    expect(ids(withJob([], job('a', 10), false))).toBe('a'));

  it('has one position among jobs of the same second', () => {
    const [two, one] = [job('b', 40), job('a', 40)];
    expect(withJob([two], one, false)).toEqual(withJob([one], two, false));
  });

  it('keeps the list sorted for any order of arrival', () => {
    const all = Array.from({ length: 30 }, (_, n) => job(String(n), 100 + n));
    const page = all.slice(10).reverse();
    // Applies one hundred changes in random order. The list must stay a contiguous range of the
    // newest jobs.
    const after = Array.from({ length: 100 }, (_, n) => all[(n * 7) % 30]!).reduce(
      (now, changed) => withJob(now, changed, true) as JobObject[],
      page,
    );
    expect(after.map((one) => one.created_at)).toEqual(
      Array.from({ length: 20 }, (_, n) => 129 - n),
    );
  });
});

describe('a long list', () => {
  /** Jobs on the server, newest first. */
  const ALL = Array.from({ length: 350 }, (_, n) => job(`job-${n}`, 1000 - n));
  let served: Served;
  /** Delays the pages after these jobs, or the first page ('first'), until the test releases them. */
  const held = new Map<string, Promise<void>>();
  const hold = (after: string) => {
    let answer = () => undefined as void;
    held.set(after, new Promise((resolve) => (answer = resolve)));
    return answer;
  };
  beforeAll(async () => {
    served = await serve(async ({ pathname, searchParams }) => {
      if (pathname !== '/v1/fine_tuning/jobs') return undefined;
      const after = searchParams.get('after');
      const from = ALL.findIndex(({ id }) => id === after) + 1;
      const to = from + Number(searchParams.get('limit'));
      const page = listOf(ALL.slice(from, to), to < ALL.length);
      await held.get(after ?? 'first');
      return page;
    });
    configure({ asyncUtilTimeout: 10_000 }); // the machine may be busy
  });
  afterAll(() => served.close());
  beforeEach(() => {
    held.clear();
    served.paths.length = 0;
  });
  afterEach(cleanup);

  let now: JobList;
  const List = () => {
    now = useJobList(parseQuery(new URLSearchParams()));
    return null;
  };
  const page = (isOpen: boolean) => <Answers>{isOpen && <List />}</Answers>;
  const more = () => act(() => now.more?.());
  /** Whether the list has exactly the first `length` jobs. */
  const isWhole = (length: number) =>
    waitFor(() =>
      expect(now.list.map(({ id }) => id)).toEqual(ALL.slice(0, length).map(({ id }) => id)),
    );
  const asks = (after: string) =>
    waitFor(() => expect(served.paths.some((path) => path.includes(`after=${after}`))).toBe(true));
  /** Waits until all requests have been answered. */
  const quiet = () => act(() => new Promise((resolve) => setTimeout(resolve, 100)));

  async function ofTwoPages() {
    const shown = render(page(true));
    await isWhole(100);
    more();
    await isWhole(200);
    return shown;
  }

  it('keeps its length when it is opened again, and after an outage', async () => {
    const { rerender } = await ofTwoPages();
    rerender(page(false));
    served.paths.length = 0;
    rerender(page(true));
    await quiet();
    await isWhole(200);
    const lists = () => served.paths.filter((path) => path.startsWith('/v1/fine_tuning/jobs'));
    // In one response.
    expect(lists()).toEqual([expect.stringContaining('limit=200')]);
    act(() => void dispatchEvent(new Event('graft:back')));
    await waitFor(() => expect(lists()).toHaveLength(2));
    await quiet();
    await isWhole(200);
    more();
    await isWhole(300);
    more();
    await isWhole(350);
    expect(now.more).toBeNull();
  });

  it('has no gap if the next page arrives while the list is reloaded', async () => {
    const { rerender } = await ofTwoPages();
    rerender(page(false));
    const [first, third] = [hold('first'), hold('job-199')];
    served.paths.length = 0;
    rerender(page(true));
    more();
    await asks('job-199');
    first();
    await quiet();
    third();
    await quiet();
    await isWhole(300);
  });

  it('discards a page whose preceding job has changed, and requests it again', async () => {
    await ofTwoPages();
    const third = hold('job-199');
    more();
    await asks('job-199');
    const [removed] = ALL.splice(199, 1);
    act(() => now.changed({ ...removed!, graft: { archived: true } } as JobObject));
    third();
    await quiet();
    await isWhole(199);
    ALL.splice(199, 0, removed!);
    held.clear();
    more();
    await isWhole(299);
  });
});
