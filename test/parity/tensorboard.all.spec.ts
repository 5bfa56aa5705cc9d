// TensorBoard reads the API's event file of a job.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Point } from '../../apps/api/src/history/job-points.js';
import { pointRecord, fileHeader } from '../../apps/api/src/history/tensorboard.js';
import { missing, python, ready } from './trackers.js';

let logdir: string;
beforeAll(() => (logdir = mkdtempSync(join(tmpdir(), 'graft-tensorboard-'))));
afterAll(() => rmSync(logdir, { recursive: true, force: true }));

describe.skipIf(!ready)(`TensorBoard${ready ? '' : ` (skipped: ${missing})`}`, () => {
  it('reads each value at its step and time, and infinite values', () => {
    const at = new Date(1_764_150_000_500);
    const points: Point[] = [
      { number: 1, at, step: 1, values: { 'train/loss': 2.5, 'train/learning_rate': 1e-4 } },
      { number: 2, at, step: 1, values: { 'valid/loss': 2.25 } },
      { number: 3, at, step: 3_000_000_000, values: { 'train/loss': Infinity } },
    ];
    mkdirSync(join(logdir, 'pirate'));
    const file = join(logdir, 'pirate', 'events.out.tfevents.1764150000.graft');
    writeFileSync(file, Buffer.concat([fileHeader(at), ...points.map(pointRecord)]));
    const script = join(import.meta.dirname, 'tensorboard_read.py');
    const read = execFileSync(python, [script, logdir], { encoding: 'utf8' });
    const seconds = at.getTime() / 1000;
    // JSON as Python writes it
    expect(JSON.parse(read.replaceAll(/\bInfinity\b/g, '"Infinity"'))).toEqual({
      pirate: {
        'train/loss': [
          [1, seconds, 2.5],
          [3_000_000_000, seconds, 'Infinity'],
        ],
        'train/learning_rate': [[1, seconds, Math.fround(1e-4)]],
        'valid/loss': [[1, seconds, 2.25]],
      },
    });
  });
});
