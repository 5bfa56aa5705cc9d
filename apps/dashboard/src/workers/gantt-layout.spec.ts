import type { PoolQueueObject, PoolRunningJob, PoolWaitingJob } from '@graft/contracts';
import { expect, it } from 'vitest';
import { ganttOf } from './gantt-layout.js';

const AT = 1_000_000;
const job = { id: 'ftjob-1', name: 'a', project: null, model: 'tiny', priority: 100 };
const running = (end: number | null): PoolRunningJob => ({
  ...job,
  worker: 'worker-1',
  started_at: AT - 60,
  step: 1,
  total_steps: 9,
  estimated_finish: end,
});
const waiting = (start: number | null, seconds: number | null): PoolWaitingJob => ({
  ...job,
  queued_at: AT,
  position: 1,
  reason: null,
  estimated_start: start,
  estimated_start_range: start === null ? null : [AT + (start - AT) / 2, AT + 2 * (start - AT)],
  estimated_seconds: seconds,
});
const queue = (
  some: readonly PoolRunningJob[],
  others: readonly PoolWaitingJob[],
): PoolQueueObject => ({
  object: 'graft.pool_queue',
  id: 'gpu',
  at: AT,
  running: some,
  waiting: others,
  queued: others.length,
});

it('places running jobs up to their end, and waiting ones with the range of their start', () => {
  const { length, ticks, rows } = ganttOf(
    queue([running(AT + 300)], [waiting(AT + 300, 600), waiting(AT + 900, 900)]),
  );
  expect(length).toBe(1800);
  expect(ticks).toEqual([0, 300, 600, 900, 1200, 1500]);
  expect(rows.map(({ bar }) => bar)).toEqual([
    { from: 0, to: 1 / 6 },
    { from: 1 / 6, to: 1 / 2 },
    { from: 1 / 2, to: 1 },
  ]);
  expect(rows[1]?.range).toEqual({ from: 150 / 1800, to: 600 / 1800 });
});

it('marks unknown ends as open, and draws no bar without a forecast', () => {
  const { length, rows } = ganttOf(queue([running(null)], [waiting(AT, null), waiting(null, 60)]));
  expect(length).toBe(600);
  expect(rows.map(({ isOpen }) => isOpen)).toEqual([true, true, false]);
  expect(rows[2]?.bar).toBeNull();
});

it('shows a day at most', () => {
  const { length, rows } = ganttOf(queue([running(AT + 9 * 86_400)], []));
  expect(length).toBe(86_400);
  expect(rows[0]?.bar).toEqual({ from: 0, to: 1 });
});
