import { expect, it } from 'vitest';
import { changedStarts, frontPriority } from './pool-what-if.js';
import type { NamedPoolState } from './queue-forecasts.js';

const waiting = (id: string, age: number, seconds = 60, priority = 100) => ({
  id,
  project: 'one',
  priority,
  age,
  dueIn: 0,
  seconds,
});
const running = (id: string, worker: string, left: number) => ({
  id,
  project: 'one',
  priority: 100,
  worker,
  held: 10,
  left,
});
const project = { id: 'one', weight: 1, limit: null, elsewhere: 0, used: 0 };
const state: NamedPoolState = {
  freeSlots: 0,
  running: [running('r', 'a', 30), running('s', 'b', 30)],
  waiting: [waiting('x', 1), waiting('y', 2), waiting('z', 3)],
  projects: [project],
};

it('finds whom a job delays at the front', () => {
  const priority = frontPriority(state, 'z', 1);
  expect(priority).toBe(99);
  expect(changedStarts(state, { kind: 'front', job: 'z', priority })).toEqual([
    { id: 'z', wasRunning: false, before: 90, after: 30, position: 1 },
    { id: 'y', wasRunning: false, before: 30, after: 90, position: 3 },
  ]);
});

it('keeps within the highest priority of the project', () => {
  expect(frontPriority(state, 'z', 100)).toBe(100);
  const first = { ...state, waiting: [waiting('x', 1, 60, 1), waiting('z', 2)] };
  expect(frontPriority(first, 'z', 1)).toBe(1);
});

it('returns the jobs of a drained worker to the queue, by age', () => {
  const drain = { kind: 'drain', worker: 'a', freeSlots: 0, ages: new Map([['r', 0.5]]) } as const;
  expect(changedStarts(state, drain)).toEqual([
    { id: 'r', wasRunning: true, before: 0, after: 30, position: 1 },
    { id: 'x', wasRunning: false, before: 30, after: 60, position: 2 },
    { id: 'y', wasRunning: false, before: 30, after: 120, position: 3 },
    { id: 'z', wasRunning: false, before: 90, after: 180, position: 4 },
  ]);
});

it('lets a cordoned worker finish its jobs, and gives it no others', () => {
  const cordon = { kind: 'cordon', worker: 'a', freeSlots: 0, ages: new Map() } as const;
  expect(changedStarts(state, cordon)).toEqual([
    { id: 'y', wasRunning: false, before: 30, after: 90, position: 2 },
    { id: 'z', wasRunning: false, before: 90, after: 150, position: 3 },
  ]);
});
