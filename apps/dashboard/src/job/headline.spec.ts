import type { CatalogTask, JobObject, MetricsObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { resultFigure, rounded, timeFigure, tokensFigure } from './headline.js';

const metric = (name: string, title: string, unit: string | null = '%') => ({ name, title, unit, draw: null }); // prettier-ignore
const task = (name: string, ...validation: ReturnType<typeof metric>[]) =>
  ({
    name,
    metrics: { step: [], validation: [metric('loss', 'Loss', null), ...validation] },
  }) as unknown as CatalogTask;
const job = (graft: object = {}, more: object = {}) =>
  ({
    status: 'succeeded',
    created_at: 100,
    finished_at: 160,
    trained_tokens: 35_823,
    ...more,
    graft: {
      training_seconds: 50,
      progress: { tokens_per_second: null, eta_seconds: null },
      operation: null,
      train_loss: 0.5,
      published_step: null,
      task_options: {},
      ...graft,
    },
  }) as unknown as JobObject;
const metrics = (evaluations: readonly object[], series: object = {}) =>
  ({ steps: [1, 2], series, evaluations, marks: [], peak_rss_bytes: 1e9 }) as unknown as MetricsObject; // prettier-ignore

it('shows the accuracy of a classifier against always predicting the most frequent label', () => {
  const found = metrics([
    { step: 10, loss: 1, accuracy: 0.5, majority_accuracy: 0.2 },
    { step: 20, loss: 0.4, accuracy: 0.956, majority_accuracy: 0.2 },
  ]);
  expect(resultFigure(job(), found, task('seq_cls', metric('accuracy', 'Accuracy')))).toEqual({
    label: 'Validation accuracy',
    value: '95.6 %',
    note: 'chance 20 %, step 20',
    tone: 'good',
    title: 'Chance: always predicting the most frequent label',
  });
});

it('marks an accuracy that is no better than chance', () => {
  const found = metrics([{ step: 10, loss: 1, accuracy: 0.2, majority_accuracy: 0.2 }]);
  const figure = resultFigure(job(), found, task('seq_cls', metric('accuracy', 'Accuracy')));
  expect(figure.tone).toBe('bad');
});

it.each([
  ['ctc', 'wer', 'Word error rate', 'Validation word error rate'],
  ['token_cls', 'f1', 'Entity F1', 'Validation entity F1'],
])('shows the metric of task %s with its first value', (name, metricName, title, label) => {
  const found = metrics([
    { step: 10, loss: 2, accuracy: 0.9, [metricName]: 0.5 },
    { step: 20, loss: 1, accuracy: 0.9, [metricName]: 0.125 },
  ]);
  const described = task(name, metric('accuracy', 'Accuracy'), metric(metricName, title));
  expect(resultFigure(job(), found, described)).toEqual({
    label,
    value: '12.5 %',
    note: 'from 50.0 %, step 20',
  });
});

it('shows the loss of the published step for text generation', () => {
  const found = metrics([
    { step: 10, loss: 1, accuracy: 0.5 },
    { step: 20, loss: 0.5, accuracy: 0.6 },
  ]);
  const described = task('causal_lm', metric('accuracy', 'Token accuracy'));
  expect(resultFigure(job({ published_step: 10 }), found, described)).toMatchObject({
    label: 'Validation loss',
    value: '1.000',
    note: 'step 10',
  });
});

it('shows the training loss without validation data', () =>
  expect(resultFigure(job(), metrics([], { loss: [2, 0.5] }), undefined)).toMatchObject({
    label: 'Training loss',
    value: '0.5000',
    note: 'from 2.000, no validation yet',
  }));

it('shows how much of the duration was waiting', () => {
  expect(timeFigure(job())).toMatchObject({ label: 'Duration', value: '1 min', note: '10 s of it waiting' }); // prettier-ignore
  const progress = { tokens_per_second: 5, eta_seconds: 12 };
  expect(timeFigure(job({ progress }, { status: 'running' }), 130)).toMatchObject({ note: 'about 12 s left' }); // prettier-ignore
  expect(timeFigure(job({ training_seconds: 0 }, { status: 'queued' }), 130)).toMatchObject({ label: 'Waiting', note: 'not started' }); // prettier-ignore
});

it('shows speed and memory with the tokens', () =>
  expect(tokensFigure(job(), metrics([], { tokens_per_second: [90, 110, 100] }))).toMatchObject({
    value: '35,823',
    note: '100 tokens/s · 1.0 GB memory',
  }));

it.each([
  [950, '950'],
  [2400, '2.4 k'],
  [4_884_480, '4.9 M'],
  [134_515_008, '135 M'],
  [7_100_000_000, '7.1 B'],
])('rounds %i to %s', (n, text) => expect(rounded(n)).toBe(text));
