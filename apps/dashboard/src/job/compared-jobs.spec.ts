import type { JobObject, MetricsObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { comparedCurves, comparedNumbers, inTraining, inValidation } from './compared-jobs.js';

const job = (id: string, peft: object | null, graft: object = {}): JobObject =>
  ({
    id,
    model: 'tiny',
    training_file: 'file-1',
    validation_file: null,
    user_provided_suffix: id,
    seed: 42,
    method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 3 } } },
    peft,
    metadata: { of: id },
    graft: { progress: { total_steps: 4 }, ...graft },
  }) as unknown as JobObject;

const metrics = (steps: number[], loss: (number | null)[], evaluations: object[] = []) =>
  ({
    steps,
    series: { loss },
    tokens: steps.map((step) => 100 * step),
    seconds: steps.map((step) => step / 4),
    evaluations,
    marks: [],
  }) as unknown as MetricsObject;

const two = [
  { job: job('a', null), metrics: metrics([1, 2, 4], [3, 2, 1], [{ step: 4, loss: 1.5 }]) },
  { job: job('b', null, { progress: { total_steps: 8 } }), metrics: metrics([2, 8], [5, null], [{ step: 8, loss: 2, accuracy: 0.5, majority_accuracy: 0.25 }]) }, // prettier-ignore
];

it('aligns curves on one axis', () => {
  expect(comparedCurves(two, 'step', inTraining('loss'))).toEqual({
    x: [1, 2, 4, 8],
    values: [
      [3, 2, 1, null],
      [null, 5, null, null],
    ],
  });
  expect(comparedCurves(two, 'share', inTraining('loss'))).toEqual({
    x: [25, 50, 100],
    values: [
      [3, 2, 1],
      [5, null, null],
    ],
  });
  expect(comparedCurves(two, 'share', inValidation('loss'))).toEqual({
    x: [100],
    values: [[1.5], [2]],
  });
});

it('aligns them by tokens and time, with a validation between two steps at the earlier one', () => {
  expect(comparedCurves(two, 'tokens', inTraining('loss')).x).toEqual([100, 200, 400, 800]);
  expect(comparedCurves(two, 'time', inTraining('loss'))).toEqual({
    x: [0.25, 0.5, 1, 2],
    values: [
      [3, 2, 1, null],
      [null, 5, null, null],
    ],
  });
  const between = [{ job: job('a', null), metrics: metrics([2, 4], [3, 2], [{ step: 3, loss: 1 }, { step: 1, loss: 9 }]) }]; // prettier-ignore
  expect(comparedCurves(between, 'tokens', inValidation('loss'))).toEqual({
    x: [0, 200],
    values: [[9, 1]],
  });
});

it('finds the metrics that any job has', () => {
  expect(comparedNumbers(two.map((one) => one.metrics))).toEqual({
    training: ['loss'],
    validation: ['loss', 'accuracy'],
  });
});
