import { expect, it } from 'vitest';
import { bestOf, endedEarly, type TrialSummary } from './trials.js';

const row = (more: Partial<TrialSummary>): TrialSummary => ({
  id: 'ftjob-1',
  sweep_id: 'sweep-1',
  trial: 1,
  state: 'succeeded',
  step: 11,
  total_steps: 90,
  end_at_step: 10,
  valid_loss: null,
  eval_score: null,
  scoring: false,
  fine_tuned_model: null,
  model_bytes: 1,
  deleted_at: null,
  ...more,
});

it('a trial ended early if it succeeded before its last step', () => {
  expect(endedEarly(row({}))).toBe(true);
  for (const state of ['queued', 'running', 'paused', 'failed', 'cancelled'] as const)
    expect(endedEarly(row({ state }))).toBe(false);
  expect(endedEarly(row({ step: 90 }))).toBe(false);
  expect(endedEarly(row({ end_at_step: null }))).toBe(false);
});

it('picks the best trial with a model and a score, the first on a tie', () => {
  const rows = [
    row({ trial: 1, eval_score: null }),
    row({ trial: 2, eval_score: 0.5 }),
    row({ trial: 3, eval_score: 0.5 }),
    row({ trial: 4, eval_score: 0.9, model_bytes: null }),
    row({ trial: 5, eval_score: 0.9, state: 'failed' }),
  ];
  expect(bestOf(rows, 'eval_score')?.trial).toBe(2);
  expect(bestOf(rows, 'valid_loss')).toBeNull();
  const measured = [
    row({ trial: 6, eval_score: 0.6, valid_loss: 2 }),
    row({ trial: 7, eval_score: 0.4, valid_loss: 1 }),
    row({ trial: 8, eval_score: 0.3, valid_loss: 3 }),
  ];
  expect(bestOf([...rows, ...measured], 'eval_score')?.trial).toBe(6);
  expect(bestOf([...rows, ...measured], 'valid_loss')?.trial).toBe(7);
});
