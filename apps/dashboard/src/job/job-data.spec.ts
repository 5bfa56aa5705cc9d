// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import type { JobObject } from '@graft/contracts';
import { withPoint, withPulse } from './job-data.js';

const metrics = {
  object: 'graft.metrics' as const,
  steps: [1, 2, 3],
  series: { loss: [3, 2, 1], grad_norm: [1, 1, 1] },
  evaluations: [],
  marks: [],
};

describe('a live measurement', () => {
  it('is appended, with a gap if a series has no value', () => {
    const next = withPoint(metrics, { step: 4, loss: 0.5 });
    expect(next.steps).toEqual([1, 2, 3, 4]);
    expect(next.series).toEqual({ loss: [3, 2, 1, 0.5], grad_norm: [1, 1, 1, null] });
  });

  it('replaces the steps of an earlier attempt', () => {
    const next = withPoint(metrics, { step: 2, loss: 9, grad_norm: 2 });
    expect(next.steps).toEqual([1, 2]);
    expect(next.series['loss']).toEqual([3, 9]);
  });
});

describe('a response about a running job', () => {
  const running = (graft: object, status = 'running') =>
    ({ status, graft }) as unknown as JobObject;
  const shown = running({
    phase: 'Training: step 9',
    progress: { step: 9 },
    worker_silent_seconds: 0,
    training_seconds: 4,
  });

  it('updates the state of its worker, and leaves the rest to the stream', () => {
    const answer = running({
      phase: 'No heartbeat from its worker for 11 s',
      progress: { step: 8 },
      worker_silent_seconds: 11,
      training_seconds: 5,
    });
    expect(withPulse(shown, answer).graft).toEqual({
      phase: 'No heartbeat from its worker for 11 s',
      progress: { step: 9 },
      worker_silent_seconds: 11,
      training_seconds: 5,
    });
  });

  it('is ignored if it has another state', () =>
    expect(withPulse(shown, running({ worker_silent_seconds: null }, 'queued'))).toBe(shown));
});
