import type { JobObject, JobStatus } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { isOver, progressLine } from './job-progress.js';

function job(status: JobStatus, step: number, total: number | null): JobObject {
  const progress = { step, total_steps: total, tokens_per_second: 400, eta_seconds: 75 };
  const graft = {
    phase: { code: 'x', message: 'waits for \u001b[2Ja worker' },
    progress,
    train_loss: 0.5,
  };
  return { id: 'ftjob-1', status, graft } as unknown as JobObject;
}

describe('progressLine', () => {
  it('shows why a job waits, without control characters', () => {
    expect(progressLine(job('queued', 0, null), null)).toBe('queued: waits for [2Ja worker');
  });

  it('shows bar, steps, loss, speed and ETA, preferring the latest step and loss', () => {
    expect(progressLine(job('running', 10, 40), null)).toBe(
      '▕██████░░░░░░░░░░░░░░░░░░▏ 10/40 · loss 0.5000 · 400 tokens/s · ETA 1 min 15 s',
    );
    const newer = { step: 12, loss: 0.4444, tokens_per_second: 410.4 };
    expect(progressLine(job('running', 10, 40), newer)).toBe(
      '▕███████░░░░░░░░░░░░░░░░░▏ 12/40 · loss 0.4444 · 410 tokens/s · ETA 1 min 15 s',
    );
  });

  it('ends with the metrics of its task that the step has', () => {
    const draw = { smooth: true, log: false };
    const described = [
      { name: 'accuracy', title: 'Token accuracy', unit: '%', draw },
      { name: 'margin', title: 'Reward margin', unit: null, draw },
      { name: 'nowhere', title: 'Nowhere', unit: null, draw },
    ];
    const last = { step: 12, loss: 0.4444, accuracy: 0.5213, margin: 1.5 };
    expect(progressLine(job('running', 10, 40), last, described)).toMatch(
      / · ETA 1 min 15 s · token accuracy 52\.1 % · reward margin 1\.500$/,
    );
  });

  it('shows the throughput of images and audio next to the tokens', () => {
    const draw = { smooth: true, log: false };
    const described = [
      { name: 'images_per_second', title: 'Images', unit: 'images/s', draw },
      { name: 'audio_seconds_per_second', title: 'Audio', unit: 's of audio/s', draw },
    ];
    const of = (last: Record<string, number>): string =>
      progressLine(job('running', 10, 40), { step: 12, loss: 0.4444, ...last }, described);
    expect(of({ images_per_second: 3.14159 })).toMatch(/ · 400 tokens\/s · 3\.1 images\/s · ETA/);
    expect(of({ audio_seconds_per_second: 123.4 })).toMatch(/ · 123 s of audio\/s · ETA/);
    expect(of({})).toMatch(/ · 400 tokens\/s · ETA 1 min 15 s$/);
  });

  it('shows the phase before the first step', () => {
    expect(progressLine(job('running', 0, 40), null)).toContain(
      '0/40 · loss 0.5000 · 400 tokens/s · ETA 1 min 15 s · waits for',
    );
  });
});

describe('isOver', () => {
  it('is true for finished and paused jobs', () => {
    const over = (
      ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'paused'] as const
    ).filter((one) => isOver(job(one, 0, null)));
    expect(over).toEqual(['succeeded', 'failed', 'cancelled', 'paused']);
  });
});
