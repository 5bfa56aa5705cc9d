import type { JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import {
  sharedWith,
  lowestValidation,
  outcomeText,
  queuePlace,
  silence,
  timeSpent,
  validationText,
  waitedForOthers,
} from './job-text.js';

const at = (step: number, loss: number | null) => ({ step, loss, accuracy: null });
const job = (part: Partial<JobObject>, graft: Partial<JobObject['graft']>): JobObject =>
  ({ status: 'running', created_at: 1000, finished_at: null, ...part, graft }) as JobObject;

describe('validation', () => {
  const overfitted = [at(0, 5.12), at(10, 2.23), at(20, 2.23), at(30, null), at(40, 4.2724)];

  it('includes the lowest loss and its step if the last one is higher', () =>
    expect(validationText(overfitted)).toBe('4.272, lowest 2.230 at step 10'));
  it('has one number if the last loss is the lowest', () =>
    expect(validationText(overfitted.slice(0, 2))).toBe('2.230'));
  it('is null without evaluations', () => {
    expect(validationText([])).toBeNull();
    expect(validationText([at(3, null)])).toBeNull();
  });
  it('uses the first of equal losses', () =>
    expect(lowestValidation(overfitted)).toEqual({ step: 10, loss: 2.23 }));
});

describe('a silent worker', () => {
  it('is reported while the job runs', () =>
    expect(silence(job({}, { worker_silent_seconds: 9.2 }))).toBe(
      'its worker has been silent for 9 s',
    ));
  it.each([
    [job({}, { worker_silent_seconds: null })],
    [job({ status: 'queued' }, { worker_silent_seconds: 60 })],
  ])('is not reported for %o', (job) => expect(silence(job)).toBeNull());
});

describe('time', () => {
  it('separates training from waiting', () =>
    expect(
      timeSpent(
        job(
          { status: 'succeeded', finished_at: 1460 },
          { started_at: 1010, training_seconds: 8.2 },
        ),
      ),
    ).toBe('trained 8 s, waited 7 min 32 s'));
  it('omits waiting if there was none', () =>
    expect(timeSpent(job({}, { started_at: 1000, training_seconds: 59.8 }), 1060)).toBe(
      'trained 1 min',
    ));
  it('does not mention training for operations', () =>
    expect(
      timeSpent(
        job(
          { status: 'succeeded', finished_at: 1010 },
          {
            started_at: 1000,
            training_seconds: 8,
            operation: { type: 'merge', adapters: [] },
          },
        ),
      ),
    ).toBe('took 8 s, waited 2 s'));
  it('is null before the first start', () =>
    expect(timeSpent(job({}, { started_at: null, training_seconds: 0 }), 1060)).toBeNull());
});

it.each([
  [null, 'running'],
  ['done', 'done'],
  ['lost_worker', 'worker lost'],
  ['oom_gpu', 'out of GPU memory'],
  ['no_memory', 'not enough memory for the base model'],
  ['something_new', 'something new'],
])('describes how an attempt ended: %s', (outcome, words) =>
  expect(outcomeText(outcome)).toBe(words),
);

describe('company', () => {
  const shares = (jobs: readonly string[], others: number) =>
    sharedWith(job({}, { shares_with: { jobs, others } }));

  it('is null for a job that is alone in its process or not running', () => {
    expect(shares([], 0)).toBeNull();
    expect(sharedWith(job({}, { shares_with: null }))).toBeNull();
    expect(
      sharedWith(job({ status: 'queued' }, { shares_with: { jobs: ['a'], others: 0 } })),
    ).toBeNull();
  });
  it('lists jobs of the project, and counts others', () => {
    expect(shares(['a'], 0)).toEqual({ jobs: ['a'], rest: null });
    expect(shares([], 1)?.rest).toBe('one job from another project');
    expect(shares(['a'], 3)?.rest).toBe('3 jobs from other projects');
  });
  it('reports the time spent waiting for other jobs', () => {
    const waited = (waited_seconds: number, training_seconds: number) =>
      waitedForOthers(job({}, { waited_seconds, training_seconds }));
    expect(waited(12, 80)).toBe('12 s of 1 min 20 s spent waiting for other jobs in its process');
    expect(waited(12, 3)).toBe('12 s of 12 s spent waiting for other jobs in its process');
    expect(waited(0.4, 80)).toBeNull();
  });
});

it('reports a queue position only for queued jobs', () => {
  const graft = { queue_position: 2, queue_length: 5 };
  expect(queuePlace(job({ status: 'queued' }, graft))).toBe('2nd of 5, no start forecast yet');
  expect(queuePlace(job({ status: 'running' }, graft))).toBeNull();
  expect(queuePlace(job({ status: 'queued' }, { queue_position: null }))).toBeNull();
});
