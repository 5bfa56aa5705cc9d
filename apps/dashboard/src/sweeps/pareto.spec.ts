import type { TrialObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { COSTS, pointsOf } from './pareto.js';

const trial = (number: number, training_seconds: number, score: number | null, more: object = {}) =>
  ({ number, status: 'succeeded', training_seconds, score, ...more }) as unknown as TrialObject;
const best = (metric: 'valid_loss' | 'eval_score', ...trials: TrialObject[]): number[] =>
  pointsOf(trials, metric, COSTS['time']!)
    .filter(({ isBest }) => isBest)
    .map(({ trial: { number } }) => number);

it('marks the Pareto front, for both directions of the score', () => {
  const trials = [trial(1, 10, 3), trial(2, 20, 2), trial(3, 15, 4), trial(4, 30, 1)];
  expect(best('valid_loss', ...trials)).toEqual([1, 2, 4]);
  expect(best('eval_score', ...trials)).toEqual([1, 3]);
});

it('marks one of several trials with the same cost or score', () => {
  expect(best('valid_loss', trial(1, 10, 3), trial(2, 10, 2), trial(3, 20, 2))).toEqual([2]);
});

it('includes finished trials with a cost and a score, however short', () => {
  const points = pointsOf(
    [trial(1, 10, null), trial(2, 0, 2), trial(3, 9, 2, { status: 'running' }), trial(4, 8, 2)],
    'valid_loss',
    COSTS['time']!,
  );
  expect(points.map(({ trial: { number }, cost }) => [number, cost])).toEqual([
    [2, 0],
    [4, 8],
  ]);
  expect(pointsOf([trial(1, 1, 1, { model_bytes: null })], 'valid_loss', COSTS['size']!)).toEqual(
    [],
  );
});

it('formats times of less than a second, each differently', () => {
  const { text } = COSTS['time']!;
  expect([0, 0.2, 0.25, 0.456789, 12.5, 95].map(text)).toEqual([
    '0 s',
    '0.2 s',
    '0.25 s',
    '0.457 s',
    '12.5 s',
    '1 min 35 s',
  ]);
});
