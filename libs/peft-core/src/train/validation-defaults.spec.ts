import type { CreateJob } from '@graft/contracts';
import { expect, it } from 'vitest';
import { resolveSpec, type JobFacts } from '../catalog.js';

const specOf = (graft: CreateJob['graft'], facts: Partial<JobFacts> = {}, more: object = {}) =>
  resolveSpec(
    { model: 'tiny', training_file: 'file-1', ...more, graft },
    { trainingRecords: 100, ...facts },
  );
const HELD = { validation_split: 0.1, load_best_model_at_end: true };

it('holds out a tenth of 50 or more records and evaluates it after each epoch', () => {
  const spec = specOf({});
  // 90 remain: batches of 2, and 3 epochs of 45 steps
  expect(spec).toMatchObject({ ...HELD, batch_size: 2, n_epochs: 3, eval_steps: 45 });
  expect(specOf({}, { trainingRecords: 50 })).toMatchObject(HELD);
  expect(specOf({}, { trainingRecords: 49 })).toMatchObject({
    validation_split: null,
    eval_steps: 0,
  });
  // The number of held-out records is known only after reading the file: here identical records stay
  // together.
  expect(specOf({}, { heldOut: 20 }).eval_steps).toBe(40);
});

it.each([
  ['the request disables it', { validation_split: null }, {}, {}],
  ['there is a validation file', {}, {}, { validation_file: 'file-2' }],
  [
    'it starts from an adapter, which may have been trained on any record',
    {},
    { warmStart: true },
    {},
  ],
])('holds nothing out if %s', (_, graft, facts, more) => {
  expect(specOf(graft, facts, more)).toMatchObject({ validation_split: null });
});

it('evaluates a validation file after each epoch, too', () => {
  const file = { validation_file: 'file-2' };
  // 100 remain: batches of 3, and epochs of 34 steps
  expect(specOf({}, {}, file)).toMatchObject({ eval_steps: 34, load_best_model_at_end: true });
  expect(specOf({}, { warmStart: true }, file).eval_steps).toBe(34);
  expect(specOf({ validation_split: 0.2 })).toMatchObject({ ...HELD, validation_split: 0.2, eval_steps: 40 }); // prettier-ignore
  // a single epoch is evaluated at its end
  expect(specOf({}, {}, { ...file, hyperparameters: { n_epochs: 1 } }).eval_steps).toBe(0);
  expect(specOf({ max_steps: 10 }, {}, file).eval_steps).toBe(0);
  expect(specOf({ eval_steps: 0 }, {}, file).eval_steps).toBe(0);
  // without validation data there is nothing to evaluate
  expect(specOf({ validation_split: null }).eval_steps).toBe(0);
  expect(specOf({}, { warmStart: true }).eval_steps).toBe(0);
});

it('keeps the eval_steps of the request, even 0', () => {
  expect(specOf({ eval_steps: 7 }).eval_steps).toBe(7);
  const atEnd = specOf({ eval_steps: 0 });
  expect(atEnd).toMatchObject({ validation_split: 0.1, eval_steps: 0 });
  expect(atEnd).not.toHaveProperty('load_best_model_at_end');
  // a single epoch is evaluated at its end
  expect(specOf({}, {}, { hyperparameters: { n_epochs: 1 } }).eval_steps).toBe(0);
  expect(specOf({ max_steps: 10 }).eval_steps).toBe(0);
  // early stopping applies to the default evaluations
  expect(specOf({ early_stopping_patience: 2 })).toMatchObject({ early_stopping_patience: 2 });
});

it('stratifies by label if each record has one', () => {
  expect(specOf({ task: 'seq_cls' }).stratify_by_column).toBe('label');
  expect(specOf({ task: 'kto' }).stratify_by_column).toBe('label');
  expect(specOf({ task: 'seq_cls', validation_split: 0.3 }).stratify_by_column).toBe('label');
  for (const graft of [
    {},
    { task: 'token_cls' },
    { task: 'seq_cls', validation_split: null },
    { task: 'seq_cls', stratify_by_column: null },
    { task: 'seq_cls', task_options: { problem_type: 'regression' } },
    { task: 'seq_cls', task_options: { problem_type: 'multi_label_classification' } },
  ] as const)
    expect(specOf(graft)).not.toHaveProperty('stratify_by_column');
});

it.each([
  [{}, 42],
  [{ validation_split: 0.3 }, 42],
  [{ split_seed: 7 }, 7],
  [{ split_seed: null }, undefined],
  [{ validation_split: null }, undefined],
  [{ validation_split: null, split_seed: 7 }, undefined],
])(
  "draws the held-out records of %j by seed %s, independently of the job's seed",
  (graft, seed) => {
    expect(specOf(graft).split_seed).toBe(seed);
  },
);

it('rejects stratification if the records do not have a label', () => {
  expect(() => specOf({ stratify_by_column: 'label' })).toThrow(
    expect.objectContaining({
      param: 'graft.stratify_by_column',
      message: expect.stringContaining('records of task causal_lm do not have one label each'),
    }),
  );
});
