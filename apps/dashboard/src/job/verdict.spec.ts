import type { JobObject, MetricsObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { verdict as found } from './verdict.js';

const verdict = (...fields: Parameters<typeof found>) => found(...fields)?.text ?? null;

interface JobFields {
  readonly status?: JobObject['status'];
  readonly warnings?: readonly string[];
  readonly score?: { readonly step: number; readonly eval_score: number };
  readonly validation?: boolean;
  /** Fraction of the training data that is held out. */
  readonly split?: number;
  /** Labels of single-label classification. */
  readonly labels?: readonly string[];
  readonly published?: number;
  readonly examples?: number;
  /** Number of validation examples. */
  readonly on?: number;
}

const job = ({
  status = 'succeeded',
  warnings = [],
  score,
  validation = true,
  split,
  labels,
  published,
  examples = 100,
  on,
}: JobFields = {}) =>
  ({
    status,
    validation_file: validation ? 'file-2' : null,
    graft: {
      validation_split: split ?? null,
      progress: { total_steps: 80 },
      warnings: warnings.map((code) => ({ code, message: '', step: null })),
      best_score: score ?? null,
      published_step: published ?? null,
      data: { examples, ...(on && { validation_examples: on }) },
      task_options: labels ? { problem_type: 'single_label_classification', labels } : {},
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

it('reports how far the validation loss fell, and its best step', () =>
  expect(verdict(job(), FELL)).toBe(
    'Validation loss 2.310 → 1.870, best at step 60 of 80, no sign of overfitting.',
  ));
it('reports the number of validation examples', () => {
  expect(verdict(job({ on: 25 }), FELL)).toBe(
    'Validation loss 2.310 → 1.870 on 25 validation examples, best at step 60 of 80, no sign of overfitting.',
  );
  const heldOut = job({ validation: false, split: 0.1, on: 1200 });
  expect(verdict(heldOut, metrics([[80, 2.5]]))).toBe(
    'Validation loss 2.500 on 1,200 held-out examples (64 before the end) at step 80.',
  );
  const rose = metrics([
    [0, 5.12],
    [40, 5.34],
  ]);
  expect(verdict(heldOut, rose)).toContain(
    'loss on 1,200 held-out examples (64 before the end) has not improved since step 0',
  );
});
it('reports overfitting if the run has that warning', () =>
  expect(verdict(job({ warnings: ['overfitting'] }), FELL)).toBe(
    'Validation loss 2.310 → 1.870, best at step 60 of 80, overfitting since then.',
  ));
it('suggests more steps if the last evaluation is the best, once the run is over', () => {
  const falling = metrics([
    [0, 3],
    [80, 2],
  ]);
  expect(verdict(job(), falling)).toContain('still falling at the end');
  expect(verdict(job({ status: 'running' }), falling)).toBe(
    'So far: validation loss 3.000 → 2.000, best at step 80 of 80, no sign of overfitting.',
  );
});
it('reports that the validation loss has not improved', () =>
  expect(
    verdict(
      job(),
      metrics([
        [0, 5.12],
        [40, 5.34],
      ]),
    ),
  ).toBe('Validation loss has not improved since step 0: 5.120 → 5.340.'));
it('reports a single evaluation in addition to the training loss', () =>
  expect(verdict(job(), metrics([[80, 2.5]], [3, 0.1]))).toBe(
    'Training loss 3.000 → 0.1000; validation loss 2.500 at step 80.',
  ));
it('reports mean training losses without validation data, and that overfitting cannot be detected', () => {
  const losses = [4, 2, ...Array.from({ length: 16 }, () => 1.5), 0.9, 1.1];
  expect(verdict(job({ validation: false }), metrics([], losses))).toBe(
    'Training loss 3.000 → 1.000; no validation data, so overfitting cannot be detected.',
  );
});
it('omits the missing validation while a held-out part has not been measured', () =>
  expect(
    verdict(job({ status: 'running', validation: false, split: 0.1 }), metrics([], [4, 2])),
  ).toBe('So far: training loss 4.000 → 2.000.'));
it('starts with what went wrong and ends with the eval score', () =>
  expect(
    verdict(job({ warnings: ['diverged'], score: { step: 60, eval_score: 0.756 } }), FELL),
  ).toBe(
    'Training went wrong, see the warnings; validation loss 2.310 → 1.870, best at step 60 of 80, no sign of overfitting; best eval score 76 % at step 60.',
  ));
it.each([
  ['of a job that failed', job({ status: 'failed' }), FELL],
  ['before anything was measured', job({ status: 'running' }), metrics([], [])],
  ['of one step', job({ status: 'running' }), metrics([[0, null]], [3])],
])('is null %s', (_, one, measured) => expect(verdict(one, measured)).toBeNull());

const LABELS = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Evaluations with a confusion matrix: step, loss, accuracy, and the share of the most frequent label. */
const metricsOf = (
  evaluations: readonly (readonly [
    step: number,
    loss: number,
    accuracy: number,
    chance?: number,
  ])[],
  losses: readonly number[] = [],
) =>
  ({
    ...metrics([], losses),
    evaluations: evaluations.map(([step, loss, accuracy, chance]) => ({
      step,
      loss,
      accuracy,
      ...(chance !== undefined && { majority_accuracy: chance }),
    })),
  }) as unknown as MetricsObject;

it('compares the accuracy with chance', () => {
  const measured = metricsOf([
    [20, 1.2, 0.6, 1 / 6],
    [40, 0.4, 0.911, 1 / 6],
    [80, 0.5, 0.9, 1 / 6],
  ]);
  const heldOut = { validation: false, split: 0.1, on: 25 };
  const one = found(job({ labels: LABELS, ...heldOut, published: 40 }), measured);
  expect(one?.isBad).toBe(false);
  expect(one?.text).toBe(
    'Better than chance on 25 held-out examples; validation loss 1.200 → 0.4000, best at step 40 of 80, no sign of overfitting.',
  );
});
it('uses the step whose weights were published', () => {
  const measured = metricsOf([
    [40, 0.4, 0.8, 0.5],
    [80, 0.5, 0.4, 0.5],
  ]);
  const of = (published?: number) => found(job({ labels: LABELS, split: 0.1, ...(published && { published }) }), measured); // prettier-ignore
  expect(of(80)?.isBad).toBe(true);
  expect(of()?.isBad).toBe(false);
});
it('is bad if the accuracy is no better than chance', () => {
  const one = found(
    job({ labels: LABELS, split: 0.1 }),
    metricsOf([[80, 1.51, 0.2, 0.3]], [1.81, 1.5]),
  );
  expect(one?.isBad).toBe(true);
  expect(one?.text).toBe(
    'No better than chance (always predicting the most frequent label); validation loss 1.510 at step 80.',
  );
  const good = found(job({ labels: LABELS, split: 0.1 }), metricsOf([[80, 1.51, 0.2]]));
  expect(good).toMatchObject({ isBad: false, text: expect.stringContaining('Better than chance') as string }); // prettier-ignore
});
it('reports the loss of guessing if labels were not validated', () => {
  const of = job({ labels: LABELS, validation: false, examples: 30 });
  const one = found(of, metrics([], [1.813, 1.792]));
  expect(one).toEqual({
    isBad: true,
    text: 'Training loss 1.813 → 1.792 (guessing among 6 labels: 1.792); no validation data, so overfitting cannot be detected (below 50 examples, none are held out by default).',
  });
  expect(found(of, metrics([], [1.813, 1.5]))?.isBad).toBe(false);
});
it('is bad if training went wrong', () =>
  expect(found(job({ warnings: ['diverged'] }), FELL)?.isBad).toBe(true));
