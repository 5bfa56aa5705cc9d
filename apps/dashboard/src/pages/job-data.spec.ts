// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { withPoint } from './job-data.js';

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
