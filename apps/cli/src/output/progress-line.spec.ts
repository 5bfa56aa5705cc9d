import type { JobObject, JobStatus, MetricDescription } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { LossCurve } from './loss-curve.js';
import { liveLine, progressLine } from './progress-line.js';

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

describe('liveLine', () => {
  const falling = new LossCurve();
  for (let n = 0; n < 40; n++) falling.add(n + 1, 4 - n / 10);
  const shown = (width: number, described: readonly MetricDescription[] = []): string =>
    liveLine(
      {
        job: job('running', 40, 400),
        last: { step: 40, loss: 0.1, accuracy: 0.5 },
        described,
        curve: falling,
      },
      width,
    );
  const accuracy = {
    name: 'accuracy',
    title: 'Token accuracy',
    unit: '%',
    draw: { smooth: true, log: false },
  };

  it('shows the moving average of the loss and its curve', () => {
    expect(shown(200)).toMatch(
      /^▕██░{22}▏ 40\/400 · avg loss 0\.2000 █[▁-█]{22}▁ · 400 tokens\/s · ETA 1 min 15 s$/,
    );
  });

  it.each([40, 50, 60, 79, 100, 120])('fits %d columns with whole parts only', (width) => {
    const line = shown(width, [accuracy]);
    expect(line.length, line).toBeLessThanOrEqual(width);
    const parts = new RegExp('^(▕[█░]+▏ 40/400|avg loss 0\\.2000( [▁-█]+)?|400 tokens/s|ETA 1 min 15 s|token accuracy 50\\.0 %)$'); // prettier-ignore
    for (const part of line.split(' · ')) expect(part).toMatch(parts);
  });

  it('keeps curve, speed and ETA in 80 columns, and drops metrics that do not fit', () => {
    expect(shown(79, [accuracy])).toMatch(/ [▁-█]{12} · 400 tokens\/s · ETA 1 min 15 s$/);
    expect(shown(160, [accuracy])).toMatch(/ · ETA 1 min 15 s · token accuracy 50\.0 %$/);
  });

  it('shows the loss of the job before the first step that it sees, and the reason of a wait', () => {
    const empty = { last: null, described: [], curve: new LossCurve() };
    expect(liveLine({ job: job('running', 10, 40), ...empty }, 79)).toContain(
      ' 10/40 · avg loss 0.5000 · 400 tokens/s',
    );
    expect(liveLine({ job: job('queued', 0, null), ...empty }, 79)).toBe(
      'queued: waits for [2Ja worker',
    );
  });
});
