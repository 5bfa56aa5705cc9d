import { expect, it } from 'vitest';
import { compareRuns } from './compare-runs.js';
import type { EvalOutputItemObject } from '../evals/eval-objects.js';

const item = (
  word: string,
  status: EvalOutputItemObject['status'],
  n = 0,
): EvalOutputItemObject => ({
  id: `${word}${n}`,
  object: 'eval.run.output_item',
  created_at: 0,
  run_id: 'run',
  eval_id: 'eval',
  status,
  datasource_item_id: n,
  datasource_item: { word },
  results: [],
  sample: null,
});

it('pairs items by content, and identical ones in order', () => {
  const left = [
    item('a', 'pass'),
    item('b', 'pass', 1),
    item('b', 'fail', 2),
    item('c', 'fail', 3),
  ];
  const right = [
    item('c', 'pass'),
    item('b', 'fail', 1),
    item('b', 'fail', 2),
    item('d', 'pass', 3),
  ];
  const compared = compareRuns(left, right);
  expect(compared.items.map((one) => [one.item['word'], one.left?.id, one.right?.id])).toEqual([
    ['a', 'a0', undefined],
    ['b', 'b1', 'b1'],
    ['b', 'b2', 'b2'],
    ['c', 'c3', 'c0'],
    ['d', undefined, 'd3'],
  ]);
  expect(compared).toMatchObject({ both: 3, leftOnlyPasses: 1, rightOnlyPasses: 1 });
});
