import type { SweepObject, TrialObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { raceTable } from './race-table.js';

function trial(number: number, status: string, more: Partial<TrialObject> = {}): TrialObject {
  const options = { 'peft.r': number, 'graft.learning_rate': 0.0002 };
  const rest = { step: 10, total_steps: 40, ended_at_step: null, score: null };
  return { number, job: `job-${number}`, options, status, ...rest, ...more } as TrialObject;
}

function sweepOf(trials: readonly TrialObject[]): SweepObject {
  const count = (status: string): number => trials.filter((one) => one.status === status).length;
  const trial_counts = {
    total: trials.length,
    queued: count('queued'),
    running: count('running'),
    succeeded: count('succeeded'),
    failed: count('failed'),
    cancelled: count('cancelled'),
  };
  const search = { metric: 'valid_loss' };
  return { status: 'running', trials, trial_counts, ended_early: 1, search } as unknown as SweepObject; // prettier-ignore
}

const sweep = sweepOf([
  trial(1, 'running', { score: 2.5 }),
  trial(2, 'succeeded', { score: 1.25, step: 40 }),
  trial(3, 'succeeded', { score: 3, ended_at_step: 10 }),
  trial(4, 'queued', { step: 0, total_steps: null }),
]);
const curves = new Map([
  ['job-1', [4, 3, 2]],
  ['job-2', [4, 1, 1]],
]);

it('has a line per trial with state, step, average loss and curve, and marks the best', () => {
  expect(raceTable(sweep, curves, 120, 24).split('\n')).toEqual([
    'running: 2 of 4 done, 1 stopped early, 1 running; best 1.250, trial 2',
    'TRIAL  STATE          STEP   AVG LOSS       VALID  OPTIONS',
    '1      running        10/40  2.000     █▅▁  2.500  r 1, learning_rate 0.0002',
    '2 *    succeeded      40/40  1.000     █▁▁  1.250  r 2, learning_rate 0.0002',
    '3      stopped at 10  10/40  –              3.000  r 3, learning_rate 0.0002',
    '4      queued         0/?    –              –      r 4, learning_rate 0.0002',
  ]);
});

it.each([40, 60, 80, 100])('fits %d columns', (columns) => {
  const long = new Map([['job-1', Array.from({ length: 60 }, (_, n) => 60 - n)]]);
  const lines = raceTable(sweep, long, columns, 24).split('\n');
  expect(lines).toHaveLength(6);
  for (const line of lines) expect(line.length, line).toBeLessThan(columns);
  expect(lines[2]).toMatch(/ █[▁-█]+▁( |$)/);
});

it('prefers running and good trials if there are fewer rows than trials', () => {
  const many = sweepOf([
    ...[1, 2, 3].map((n) => trial(n, 'queued')),
    trial(4, 'succeeded', { score: 2 }),
    trial(5, 'succeeded', { score: 1 }),
    trial(6, 'running'),
  ]);
  const lines = raceTable(many, new Map(), 120, 6).split('\n');
  expect(lines.map((line) => line.slice(0, 8).trimEnd())).toEqual([
    'running:',
    'TRIAL  S',
    '5 *    s',
    '6      r',
    '… 4 more',
  ]);
  expect(lines.at(-1)).toBe('… 4 more: 3 queued, 1 succeeded');
});
