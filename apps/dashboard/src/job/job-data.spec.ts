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

describe('a live point', () => {
  it('is added at the end, with a gap where a series has no value', () => {
    const next = withPoint(metrics, { step: 4, loss: 0.5 });
    expect(next.steps).toEqual([1, 2, 3, 4]);
    expect(next.series).toEqual({ loss: [3, 2, 1, 0.5], grad_norm: [1, 1, 1, null] });
  });

  it('replaces what an earlier attempt drew from that step on', () => {
    const next = withPoint(metrics, { step: 2, loss: 9, grad_norm: 2 });
    expect(next.steps).toEqual([1, 2]);
    expect(next.series['loss']).toEqual([3, 9]);
  });
});

describe('an answer about a running job', () => {
  const running = (graft: object, status = 'running') =>
    ({ status, graft }) as unknown as JobObject;
  const shown = running({
    phase: 'Training: step 9',
    progress: { step: 9 },
    worker_silent_seconds: 0,
    training_seconds: 4,
  });

  it('says how its worker is, and leaves the rest to the stream', () => {
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

  it('of another state is too old or too new', () =>
    expect(withPulse(shown, running({ worker_silent_seconds: null }, 'queued'))).toBe(shown));
});
