import { expect, it } from 'vitest';
import { caughtSync } from '../../test/caught-sync.js';
import { checkRungs, checkSpacing, defaultRungs, everyFor, measuredAt } from './rung-steps.js';

it('has rungs at a ninth and a third, or so, and none at the end', () => {
  expect([90, 100, 1000].map((steps) => defaultRungs(steps, 3))).toEqual([
    [10, 30],
    [11, 33],
    [111, 333],
  ]);
  expect(defaultRungs(64, 2)).toEqual([16, 32]);
  expect([1, 2, 3, 4].map((steps) => defaultRungs(steps, 3))).toEqual([[], [1], [1], [1]]);
});

it('measures at each rung: by what is asked, or as seldom as will do', () => {
  expect(everyFor([10, 30], undefined, 'valid_loss')).toBe(10);
  expect(everyFor([8, 20], 0, 'valid_loss')).toBe(4);
  expect(everyFor([10, 30], 5, 'eval_score')).toBe(5);
  expect(caughtSync(() => everyFor([10, 33], 5, 'valid_loss'))).toEqual([
    'search.rungs',
    'search.rungs: a multiple of graft.eval_steps, 5, is measured; got 33',
  ]);
  expect(caughtSync(() => everyFor([7], 5, 'eval_score'))[1]).toContain('graft.save_steps');
});

it('refuses rungs that no trial reaches before its end', () => {
  expect(caughtSync(() => checkRungs([], { shortest: 1, longest: 90 }))).toEqual([
    'search.algorithm',
    'search.algorithm: asha compares trials before their end, and the shortest has 1 step; use random',
  ]);
  expect(caughtSync(() => checkRungs([40, 80], { shortest: 9, longest: 40 }))).toEqual([
    'search.rungs',
    'search.rungs: the first must be before the end of the longest trial, step 40; got 40',
  ]);
  expect(() => checkRungs([39, 80], { shortest: 40, longest: 40 })).not.toThrow();
});

it('moves rungs that nobody asked for to where trials are measured, before the end of the shortest', () => {
  const at = (own: number[], shortest = 90) =>
    measuredAt(defaultRungs(shortest, 3), own, { metric: 'valid_loss', shortest });
  expect(at([0, 0])).toEqual([10, 30]);
  expect(at([4, 4])).toEqual([12, 32]);
  expect(at([4, 6])).toEqual([12, 36]);
  expect(at([50, 0])).toEqual([50]);
  expect(at([7], 1000)).toEqual([112, 336]);
  expect(caughtSync(() => at([90]))).toEqual([
    'graft.eval_steps',
    'graft.eval_steps: asha compares trials before their end; all are measured at multiples of 90 steps, and the shortest has 90',
  ]);
  expect(at([90], 1)).toEqual([]);
});

it('refuses rungs at which trials are measured only if they are so all the time', () => {
  expect(caughtSync(() => checkSpacing([10, 33]))).toEqual([
    'search.rungs',
    'search.rungs: trials would be measured every step to be so at 10, 33; choose multiples of one number',
  ]);
  expect(caughtSync(() => checkSpacing([100, 330]))[1]).toContain('every 10 steps');
  for (const rungs of [[7], [8, 20], [8, 10], [1, 2], [11, 33]])
    expect(() => checkSpacing(rungs)).not.toThrow();
});
