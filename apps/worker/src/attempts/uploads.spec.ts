import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeInto } from '../../test/scene.js';
import type { PayloadOf, RunEvent } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import { pino } from 'pino';
import { Uploads } from './uploads.js';

const RUN = { jobId: 'job-1', attempt: 1 };
const LOST = { level: 'error', message: 'a checkpoint could not be uploaded', code: null } as const;

let folder: string;
let open: () => void;
let puts: string[];
let events: RunEvent[];
let uploads: Uploads;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-uploads-'));
  puts = [];
  events = [];
  const gate = new Promise<void>((resolve) => (open = resolve));
  uploads = new Uploads({
    workDir: folder,
    attempt: RUN,
    blobs: {
      put: async (_, path) => {
        await gate;
        puts.push(readFileSync(path, 'utf8'));
      },
      adopt: () => Promise.resolve(),
    },
    events: {
      add: (event) => void events.push(event),
      log: () => void events.push({ kind: 'log', payload: LOST }),
      uploadWaits: () => undefined,
    },
    signal: new AbortController().signal,
    log: pino({ level: 'silent' }),
    onStale: () => undefined,
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const folderOf = (step: number): string => join(folder, `checkpoint-${step}`);

/** Returns the step of `saved`, or the name of its adapter file; for other events, the kind. */
const emitted = (): (string | number)[] =>
  events.map((event) => {
    if (event.kind !== 'saved') return event.kind;
    return event.payload.adapter[0]?.name ?? event.payload.step;
  });

function saved(step: number, files = write(step), name?: string, best = false): PayloadOf<'saved'> {
  const adapter = name === undefined ? [] : [{ name, sha256: '0'.repeat(64), size: 1 }];
  return { step, files, adapter, best };
}

function write(step: number, dir = folderOf(step)): BlobRef[] {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'state'), `state of ${step}`);
  return [{ name: 'state', sha256: String(step).padStart(64, '0'), size: 10 }];
}

describe('uploads', () => {
  it('skip a waiting checkpoint when a newer one is saved', async () => {
    for (const step of [10, 20, 30]) {
      uploads.checkpoint(saved(step));
      await Promise.resolve();
    }
    open();
    await uploads.settled();
    expect(emitted()).toEqual([10, 30]);
    expect([10, 20, 30].filter((step) => existsSync(folderOf(step)))).toEqual([]);
  });

  it('keep the best waiting checkpoint until there is a better one', async () => {
    for (const [step, best] of [[10], [20, true], [30, true], [40], [50]] as const) {
      uploads.checkpoint(saved(step, write(step), undefined, best));
      await Promise.resolve();
    }
    open();
    await uploads.settled();
    expect(emitted()).toEqual([10, 30, 50]);
    expect([10, 20, 30, 40, 50].filter((step) => existsSync(folderOf(step)))).toEqual([]);
  });

  it('keep the folder of a step that is saved twice, by save_steps and by a stop', async () => {
    const first = write(40);
    uploads.checkpoint(saved(30));
    await Promise.resolve();
    uploads.checkpoint(saved(40, first, 'by the cadence'));
    uploads.checkpoint(saved(40, first, 'by the stop'));
    open();
    await uploads.settled();
    expect(emitted()).toEqual([30, 'by the stop']);
    expect(existsSync(folderOf(40))).toBe(false);
  });

  it('upload earlier sets before the last one', async () => {
    uploads.checkpoint(saved(10));
    const end = uploads.adapter(write(99, join(folder, 'adapter')));
    open();
    await end;
    expect(puts).toEqual(['state of 10', 'state of 99']);
  });

  it('continue if a folder cannot be removed', async () => {
    open();
    const files = write(10);
    const stop = writeInto(folderOf(10));
    uploads.checkpoint(saved(10, files));
    await uploads.settled();
    stop();
    expect(existsSync(folderOf(10))).toBe(true);
    uploads.checkpoint(saved(20));
    await uploads.settled();
    expect(emitted()).toEqual([10, 20]);
  });
});
