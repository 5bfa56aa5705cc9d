import { expect, it } from 'vitest';
import { caughtSync } from '../../test/caught-sync.js';
import { checkRungs, checkSpacing, defaultRungs, everyFor, measuredAt } from './rung-steps.js';

it('puts default rungs at about a ninth and a third of the steps, none at the end', () => {
  expect([90, 100, 1000].map((steps) => defaultRungs(steps, 3))).toEqual([
    [10, 30],
    [11, 33],
    [111, 333],
  ]);
  expect(defaultRungs(64, 2)).toEqual([16, 32]);
  expect([1, 2, 3, 4].map((steps) => defaultRungs(steps, 3))).toEqual([[], [1], [1], [1]]);
});

it('measures at each rung, by the requested interval or as rarely as possible', () => {
  expect(everyFor([10, 30], undefined, 'valid_loss')).toBe(10);
  expect(everyFor([8, 20], 0, 'valid_loss')).toBe(4);
  expect(everyFor([10, 30], 5, 'eval_score')).toBe(5);
  expect(caughtSync(() => everyFor([10, 33], 5, 'valid_loss'))).toEqual([
    'search.rungs',
    'search.rungs: expected multiples of graft.eval_steps (5), got 33',
  ]);
  expect(caughtSync(() => everyFor([7], 5, 'eval_score'))[1]).toContain('graft.save_steps');
});

it('rejects rungs that no trial reaches before its end', () => {
  expect(caughtSync(() => checkRungs([], { shortest: 1, longest: 90 }))).toEqual([
    'search.algorithm',
    'search.algorithm: asha compares trials before they end, but the shortest has only 1 step; use random',
  ]);
  expect(caughtSync(() => checkRungs([40, 80], { shortest: 9, longest: 40 }))).toEqual([
    'search.rungs',
    'search.rungs: the first must be before the end of the longest trial, step 40; got 40',
  ]);
  expect(() => checkRungs([39, 80], { shortest: 40, longest: 40 })).not.toThrow();
});

it('moves default rungs to steps at which all trials are measured', () => {
  const at = (own: number[], shortest = 90) =>
    measuredAt(defaultRungs(shortest, 3), own, { metric: 'valid_loss', shortest });
  expect(at([0, 0])).toEqual([10, 30]);
  expect(at([4, 4])).toEqual([12, 32]);
  expect(at([4, 6])).toEqual([12, 36]);
  expect(at([50, 0])).toEqual([50]);
  expect(at([7], 1000)).toEqual([112, 336]);
  expect(caughtSync(() => at([90]))).toEqual([
    'graft.eval_steps',
    'graft.eval_steps: asha compares trials before they end, but all are measured only every 90 steps and the shortest has 90 steps; measure more often',
  ]);
  expect(at([90], 1)).toEqual([]);
});

it('rejects rungs that require measuring too often', () => {
  expect(caughtSync(() => checkSpacing([10, 33]))).toEqual([
    'search.rungs',
    'search.rungs: measuring at steps 10, 33 would mean measuring every step; choose multiples of a larger number',
  ]);
  expect(caughtSync(() => checkSpacing([100, 330]))[1]).toContain('every 10 steps');
  for (const rungs of [[7], [8, 20], [8, 10], [1, 2], [11, 33]])
    expect(() => checkSpacing(rungs)).not.toThrow();
});
