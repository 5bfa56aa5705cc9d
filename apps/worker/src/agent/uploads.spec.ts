import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeInto } from '../../test/scene.js';
import type { WrittenFile } from '../trainer/protocol.js';
import { BlobCache } from './blob-cache.js';
import { Uploads } from './uploads.js';

let folder: string;
let open: () => void;
let puts: string[];
let failures: unknown[];
let uploads: Uploads;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'graft-uploads-'));
  puts = [];
  failures = [];
  const gate = new Promise<void>((resolve) => (open = resolve));
  const cache = await BlobCache.open({
    folder: join(folder, 'cache'),
    capBytes: 1e9,
    fetch: () => {
      throw new Error('nothing is fetched here');
    },
    retry: (error) => Promise.reject(error),
  });
  uploads = new Uploads({
    workDir: folder,
    cache,
    put: async (path) => {
      await gate;
      puts.push(readFileSync(path, 'utf8'));
    },
    signal: new AbortController().signal,
    onFailure: (error) => void failures.push(error),
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const folderOf = (step: number): string => join(folder, `checkpoint-${step}`);

function write(step: number, dir = folderOf(step)): WrittenFile[] {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'state'), `state of ${step}`);
  return [{ name: 'state', sha256: String(step).padStart(64, '0'), size: 10 }];
}

describe('uploads', () => {
  it('leave out a checkpoint that still waits when a newer one comes', async () => {
    const done: number[] = [];
    for (const step of [10, 20, 30]) {
      uploads.checkpoint(step, write(step), () => done.push(step));
      await Promise.resolve();
    }
    open();
    await uploads.settled();
    expect(done).toEqual([10, 30]);
    expect([10, 20, 30].filter((step) => existsSync(folderOf(step)))).toEqual([]);
    expect(failures).toEqual([]);
  });

  it('keep the folder of a step that is saved twice, by the cadence and by a stop', async () => {
    const done: string[] = [];
    const first = write(40);
    uploads.checkpoint(30, write(30), () => done.push('30'));
    await Promise.resolve();
    uploads.checkpoint(40, first, () => done.push('40, by the cadence'));
    uploads.checkpoint(40, first, () => done.push('40, by the stop'));
    open();
    await uploads.settled();
    expect(done).toEqual(['30', '40, by the stop']);
    expect(failures).toEqual([]);
    expect(existsSync(folderOf(40))).toBe(false);
  });

  it('put what came before the last set first', async () => {
    uploads.checkpoint(10, write(10), () => undefined);
    const end = uploads.last(write(99, join(folder, 'adapter')));
    open();
    await end;
    expect(puts).toEqual(['state of 10', 'state of 99']);
  });

  it('go on when a folder cannot be removed', async () => {
    const done: number[] = [];
    open();
    const files = write(10);
    const stop = writeInto(folderOf(10));
    uploads.checkpoint(10, files, () => done.push(10));
    await uploads.settled();
    stop();
    expect(existsSync(folderOf(10))).toBe(true);
    uploads.checkpoint(20, write(20), () => done.push(20));
    await uploads.settled();
    expect(done).toEqual([10, 20]);
    expect(failures).toEqual([]);
  });
});
