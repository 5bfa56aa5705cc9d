import type { JobObject, MetricsObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { verdict } from './verdict.js';

interface Given {
  readonly status?: JobObject['status'];
  readonly warnings?: readonly string[];
  readonly score?: { readonly step: number; readonly eval_score: number };
  readonly validation?: boolean;
  /** Of the training data, held out. */
  readonly split?: number;
}

const job = ({
  status = 'succeeded',
  warnings = [],
  score,
  validation = true,
  split,
}: Given = {}) =>
  ({
    status,
    validation_file: validation ? 'file-2' : null,
    graft: {
      validation_split: split ?? null,
      progress: { total_steps: 80 },
      warnings: warnings.map((code) => ({ code, message: '', step: null })),
      best_score: score ?? null,
    },
  }) as unknown as JobObject;

const metrics = (
  evaluations: readonly (readonly [step: number, loss: number | null])[],
  losses: readonly (number | null)[] = [],
) =>
  ({
    steps: losses.map((_, n) => n + 1),
    series: { loss: losses },
    evaluations: evaluations.map(([step, loss]) => ({ step, loss })),
    marks: [],
  }) as unknown as MetricsObject;

const FELL = metrics([
  [0, 2.31],
  [20, 2.05],
  [60, 1.87],
  [80, 1.88],
]);

it('says from what to what the validation loss fell, and where it was best', () =>
  expect(verdict(job(), FELL)).toBe(
    'Validation 2.310 → 1.870, best at step 60 of 80, no sign of overfitting.',
  ));
it('says that it overfits where the run was warned of that', () =>
  expect(verdict(job({ warnings: ['overfitting'] }), FELL)).toBe(
    'Validation 2.310 → 1.870, best at step 60 of 80, overfitting since then.',
  ));
it('says that more steps may do better while the last is the best, once it is over', () => {
  const falling = metrics([
    [0, 3],
    [80, 2],
  ]);
  expect(verdict(job(), falling)).toContain('still falling at the end');
  expect(verdict(job({ status: 'running' }), falling)).toBe(
    'So far: validation 3.000 → 2.000, best at step 80 of 80, no sign of overfitting.',
  );
});
it('says that it never got better', () =>
  expect(
    verdict(
      job(),
      metrics([
        [0, 5.12],
        [40, 5.34],
      ]),
    ),
  ).toBe('Validation never got better than 5.120 at step 0, now 5.340.'));
it('says what a single evaluation found beside the training loss', () =>
  expect(verdict(job(), metrics([[80, 2.5]], [3, 0.1]))).toBe(
    'Training loss 3.000 → 0.1000; validation 2.500 at step 80.',
  ));
it('goes by means of the training loss where nothing was validated, and says what that leaves open', () => {
  const losses = [4, 2, ...Array.from({ length: 16 }, () => 1.5), 0.9, 1.1];
  expect(verdict(job({ validation: false }), metrics([], losses))).toBe(
    'Training loss 3.000 → 1.000; without validation data nothing says whether it overfits.',
  );
});
it('says nothing of missing validation where a share is held out that was not measured yet', () =>
  expect(
    verdict(job({ status: 'running', validation: false, split: 0.1 }), metrics([], [4, 2])),
  ).toBe('So far: training loss 4.000 → 2.000.'));
it('names what went wrong first, and the score of an eval last', () =>
  expect(
    verdict(job({ warnings: ['diverged'], score: { step: 60, eval_score: 0.756 } }), FELL),
  ).toBe(
    'This run went wrong, see the warnings; validation 2.310 → 1.870, best at step 60 of 80, no sign of overfitting; best eval score 76 % at step 60.',
  ));
it.each([
  ['of a job that failed', job({ status: 'failed' }), FELL],
  ['before anything was measured', job({ status: 'running' }), metrics([], [])],
  ['of one step', job({ status: 'running' }), metrics([[0, null]], [3])],
])('has no words %s', (_, one, measured) => expect(verdict(one, measured)).toBeNull());
