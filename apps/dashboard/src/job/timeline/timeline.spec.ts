import type { JobObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { spansOf } from './timeline.js';

const attempt = (from: number, to: number | null, outcome: string | null, more: object = {}) => ({
  number: 1,
  worker: 'tower',
  started_at: from,
  ended_at: to,
  outcome,
  reason: null,
  from_step: 0,
  to_step: to === null ? null : 40,
  ...more,
});
const job = (status: string, attempts: readonly object[], finished_at: number | null = null) =>
  ({
    status,
    created_at: 100,
    finished_at,
    graft: { attempts, phase: { message: 'Waiting for a worker in pool default' } },
  }) as unknown as JobObject;
const shown = (one: JobObject, now?: number) =>
  spansOf(one, now).map(({ kind, title, detail, from, to }) => [kind, title, detail, to - from]);

it('shows waits, a lost worker and the attempt that resumed', () => {
  const attempts = [
    attempt(110, 150, 'lost_worker'),
    attempt(165, 200, 'done', { from_step: 30, to_step: 80 }),
  ];
  expect(shown(job('succeeded', attempts, 200))).toEqual([
    ['wait', 'Queued', '', 10],
    ['lost', 'Attempt 1 on tower', 'steps 0–40, worker lost', 40],
    ['wait', 'Queued again', '', 15],
    ['attempt', 'Attempt 2 on tower', 'steps 30–80, done', 35],
  ]);
});

it('ends with what the job does now', () => {
  expect(shown(job('queued', []), 130)).toEqual([
    ['wait', 'Waiting for a worker in pool default', '', 30],
  ]);
  expect(shown(job('running', [attempt(100, null, null)]), 130)).toEqual([
    ['attempt', 'Attempt 1 on tower', 'running', 30],
  ]);
});

it('adds the reason of an interruption', () => {
  const attempts = [attempt(100, 120, 'interrupted', { reason: 'killed by Ada' })];
  expect(shown(job('queued', attempts), 125)[0]?.[2]).toContain('killed by Ada');
});
