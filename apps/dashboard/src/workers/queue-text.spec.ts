import type { PoolChange, PoolWhatIfObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { about, effectText, jobTitle, rangeText, startText, summary } from './queue-text.js';

const NOW = 1_000_000;
const change = (more: Partial<PoolChange>): PoolChange => ({
  id: 'ftjob-1',
  name: 'tickets',
  project: null,
  model: 'tiny',
  priority: 100,
  was_running: false,
  start_before: NOW + 60,
  start_after: NOW + 360,
  delay_seconds: 300,
  ...more,
});
const whatIf = (more: Partial<PoolWhatIfObject>): PoolWhatIfObject => ({
  object: 'graft.pool_what_if',
  id: 'gpu',
  action: 'drain',
  target: 'worker-1',
  priority: null,
  position: null,
  slots_left: 2,
  changes: [],
  ...more,
});

it('names jobs, or whose they are', () => {
  expect(jobTitle({ name: 'tickets', project: null })).toBe('tickets');
  expect(jobTitle({ name: null, project: { id: 'a', name: 'ads' } })).toBe('a job of ads');
  expect(jobTitle({ name: null, project: null })).toBe('a job of another project');
});

it('rounds forecasts to one unit', () => {
  expect([about(40), about(89), about(95), about(5000), about(7200), about(9000)]).toEqual([
    '40 s',
    '1 min 29 s',
    '2 min',
    '83 min',
    '2 h',
    '2.5 h',
  ]);
  expect(startText(NOW + 3, NOW)).toBe('starts right away');
  expect(startText(NOW + 600, NOW)).toBe('starts in about 10 min');
  expect(startText(null, NOW)).toBeNull();
  expect(rangeText([NOW - 5, NOW + 600], NOW)).toBe('0 s to 10 min');
});

describe('consequences', () => {
  const effect = (more: Partial<PoolChange>, slots = 2) =>
    effectText(change(more), { slots_left: slots, at: NOW });

  it('say when jobs start, and how much later', () => {
    expect(effect({})).toBe('starts 5 min later');
    expect(effect({ delay_seconds: -300, start_after: NOW })).toBe(
      'starts 5 min earlier (right away)',
    );
    expect(effect({ delay_seconds: null, start_after: null })).toBe(
      'starts later; no forecast yet',
    );
    expect(effect({ delay_seconds: null, start_after: null }, 0)).toBe(
      'waits until another worker joins',
    );
  });

  it('say what becomes of running jobs', () => {
    const running = { was_running: true, start_before: null };
    expect(effect({ ...running, start_after: NOW })).toBe(
      'saves a checkpoint and resumes on another worker right away',
    );
    expect(effect({ ...running, start_after: NOW + 600 })).toBe(
      'saves a checkpoint and resumes in about 10 min',
    );
    expect(effect({ ...running, start_after: null }, 0)).toBe(
      'saves a checkpoint and waits until another worker joins',
    );
  });

  it('are summed up', () => {
    const moved = change({ was_running: true, start_before: null });
    expect(summary(whatIf({}))).toBe('No job is delayed.');
    expect(summary(whatIf({ changes: [moved, change({}), change({})] }))).toBe(
      '1 job moves to other workers, and 2 jobs in the queue wait longer.',
    );
    expect(summary(whatIf({ slots_left: 0, changes: [moved] }))).toBe(
      'No other worker in pool gpu accepts jobs. All its jobs wait until one joins.',
    );
    const front = { action: 'front', target: 'ftjob-1', priority: 99, position: 1 } as const;
    const own = change({ delay_seconds: -300 });
    expect(summary(whatIf({ ...front, changes: [own] }))).toBe('No other job is delayed.');
    expect(summary(whatIf({ ...front, changes: [own, change({ id: 'ftjob-2' })] }))).toBe(
      'Delays 1 job.',
    );
  });
});
