import type { SweepObject, TrialObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { sweepCard } from './sweep-card.js';

const trial = (number: number, more: Partial<TrialObject>): TrialObject => ({
  number,
  job: `ftjob-${number}`,
  name: `chats-sweep-1 · r ${number}`,
  options: { 'peft.r': number },
  status: 'succeeded',
  step: 90,
  total_steps: 90,
  ended_at_step: null,
  score: null,
  best: null,
  rungs: [],
  forgetting: null,
  training_seconds: 0,
  memory_bytes: null,
  trainable_parameters: null,
  model: null,
  model_bytes: null,
  error: null,
  ...more,
});

it('shows the state of a trial, with the rung at which it was stopped', () => {
  const card = sweepCard(
    {
      id: 'sweep-1',
      name: 'chats-sweep-1',
      suffix: null,
      model: 'tiny',
      status: 'running',
      search: { algorithm: 'asha', metric: 'valid_loss', rungs: [10] },
      trial_counts: { total: 2, queued: 0, running: 0, succeeded: 1, failed: 1, cancelled: 0 },
      ended_early: 1,
      winner: null,
      trials: [trial(1, { ended_at_step: 10, step: 11 }), trial(2, { status: 'failed' })],
    } as unknown as SweepObject,
    200,
  );
  expect(card).toMatch(/1 +– +succeeded at rung 10 +11\/90/);
  expect(card).toMatch(/2 +– +failed +90\/90/);
});
