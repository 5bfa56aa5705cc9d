import { expect, it } from 'vitest';
import type { JobObject } from './job-objects.js';
import { accuracyText, beatsChance, labelEvaluation, validationExamples } from './validation.js';

it('compares an accuracy with that of the most frequent label', () => {
  const found = labelEvaluation({ step: 4, accuracy: 0.911, majority_accuracy: 1 / 6 });
  expect(found && accuracyText(found)).toBe(
    'accuracy 91 % (always predicting the most frequent label: 17 %)',
  );
  expect(found && beatsChance(found)).toBe(true);
});

it.each([
  [0.5, 0.5],
  [0.3, 0.5],
])('%f is no better than chance if the most frequent label gives %f', (accuracy, majority) => {
  const found = labelEvaluation({ step: 4, accuracy, majority_accuracy: majority });
  expect(found && beatsChance(found)).toBe(false);
  expect(found && accuracyText(found)).toBe(
    `accuracy ${100 * accuracy} %, no better than chance (always predicting the most frequent label: 50 %)`,
  );
});

it('uses the number of labels if their frequencies are unknown', () => {
  const found = labelEvaluation({ step: 4, accuracy: 0.5 }, 4);
  expect(found && accuracyText(found)).toBe('accuracy 50 % (guessing among 4 labels: 25 %)');
});

it.each([
  [{ step: 4, loss: 1 }, 4],
  [{ step: 4, accuracy: null, majority_accuracy: 0.5 }, 4],
  [{ step: 4, accuracy: 0.5 }, null],
])('returns null for %j', (found, labels) => {
  expect(labelEvaluation(found, labels)).toBeNull();
});

const job = (validation_file: string | null, data: object | null) =>
  ({ validation_file, graft: { data } }) as unknown as JobObject;

it.each([
  [null, { validation_examples: 25 }, '25 held-out examples'],
  [null, { validation_examples: 1 }, '1 held-out example'],
  ['file-2', { validation_examples: 64 }, '64 validation examples'],
  ['file-2', { validation_examples: 1200 }, '1,200 validation examples (64 before the end)'],
  [null, {}, null],
  [null, null, null],
])('returns the number of validation examples: %s, %j', (file, data, words) =>
  expect(validationExamples(job(file, data))).toBe(words),
);
