import type { JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { lineOf, progressOf, resultOf, waitText } from './job-words.js';

const NOW = 1000;
const job = (graft: object, more: object = {}): JobObject =>
  ({
    status: 'queued',
    error: null,
    ...more,
    graft: {
      pool: 'default',
      phase: { code: 'queued', message: 'Waiting for a worker in pool default' },
      queue_position: null,
      estimated_start: null,
      warnings: [],
      worker_silent_seconds: null,
      operation: null,
      best: null,
      best_score: null,
      train_loss: null,
      progress: { step: 0, total_steps: null, eta_seconds: null },
      ...graft,
    },
  }) as unknown as JobObject;

describe('the result of a job', () => {
  it('is the score of its eval, else the accuracy, else a loss', () => {
    const best = { step: 3, valid_loss: 1.25 };
    const text = (graft: object) => {
      const found = resultOf(job(graft));
      return found && `${found.value} ${found.name}`;
    };
    expect(text({})).toBeNull();
    expect(text({ train_loss: 2 })).toBe('2.000 train loss');
    expect(text({ train_loss: 2, best })).toBe('1.250 val loss');
    expect(text({ best: { ...best, accuracy: 0.912 } })).toBe('91 % accuracy');
    expect(text({ best, best_score: { step: 3, eval_score: 0.5 } })).toBe('0.5000 eval score');
  });
});

describe('the explanation of a waiting job', () => {
  it('has its place and the forecast', () => {
    expect(waitText(job({ queue_position: 3, estimated_start: NOW + 720 }), NOW)).toBe(
      '3rd in line, starts in ≈ 12 min',
    );
    expect(waitText(job({ queue_position: 1 }), NOW)).toBe('1st in line');
    expect(waitText(job({ queue_position: 1, estimated_start: NOW }), NOW)).toBe(
      '1st in line, starts now',
    );
  });

  it('names what is missing', () => {
    const warnings = [{ code: 'pool_never_joined', message: '', step: null }];
    expect(waitText(job({ pool: 'h100', queue_position: 1, warnings }))).toBe(
      'No worker in pool h100',
    );
    const phase = { code: 'pool_cordoned', message: 'Waiting: pool a is cordoned' };
    expect(waitText(job({ phase, queue_position: 1 }))).toBe('Pool a is cordoned');
  });
});

it('explains a failure in one sentence, and a silent worker first', () => {
  const error = { code: 'nonfinite', message: 'step 3: loss NaN; lower the rate', param: null };
  expect(lineOf(job({}, { status: 'failed', error }))).toEqual({
    text: 'step 3: loss NaN',
    tone: 'bad',
    title: error.message,
  });
  const silent = job({ worker_silent_seconds: 9 }, { status: 'running' });
  expect(lineOf(silent)?.text).toBe('⚠ its worker has been silent for 9 s');
  expect(lineOf(job({}, { status: 'succeeded' }))).toBeNull();
});

it('measures the progress of started jobs only', () => {
  const progress = { step: 31, total_steps: 50, eta_seconds: 12 };
  expect(progressOf(job({ progress }, { status: 'running' }))).toEqual({
    share: 0.62,
    percent: '62 %',
    left: '12 s left',
  });
  expect(progressOf(job({ progress }, { status: 'paused' }))?.left).toBeNull();
  for (const status of ['queued', 'succeeded', 'failed'])
    expect(progressOf(job({ progress }, { status }))).toBeNull();
});
