import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
    cache,
    put: async (path) => {
      await gate;
      if (!existsSync(path)) throw new Error(`${path} is gone`);
      puts.push(path.slice(folder.length + 1));
    },
    signal: new AbortController().signal,
    onFailure: (error) => void failures.push(error),
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(step: number): { dir: string; files: WrittenFile[] } {
  const dir = join(folder, `checkpoint-${step}`);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'state'), `state of ${step}`);
  return { dir, files: [{ name: 'state', sha256: String(step).padStart(64, '0'), size: 10 }] };
}

describe('uploads', () => {
  it('leave out a checkpoint that still waits when a newer one comes', async () => {
    const done: number[] = [];
    for (const step of [10, 20, 30]) {
      const { dir, files } = write(step);
      uploads.checkpoint(dir, files, () => done.push(step));
      await Promise.resolve();
    }
    open();
    await uploads.settled();
    expect(done).toEqual([10, 30]);
    expect([10, 20, 30].filter((step) => existsSync(join(folder, `checkpoint-${step}`)))).toEqual(
      [],
    );
    expect(failures).toEqual([]);
  });

  it('keep the folder of a step that is saved twice, by the cadence and by a stop', async () => {
    const done: string[] = [];
    const first = write(40);
    uploads.checkpoint(write(30).dir, write(30).files, () => done.push('30'));
    await Promise.resolve();
    uploads.checkpoint(first.dir, first.files, () => done.push('40, by the cadence'));
    uploads.checkpoint(first.dir, first.files, () => done.push('40, by the stop'));
    open();
    await uploads.settled();
    expect(done).toEqual(['30', '40, by the stop']);
    expect(failures).toEqual([]);
    expect(existsSync(first.dir)).toBe(false);
  });

  it('put what came before the last set first', async () => {
    const { dir, files } = write(10);
    const last = write(99);
    uploads.checkpoint(dir, files, () => undefined);
    const end = uploads.last(last.dir, last.files);
    open();
    await end;
    expect(puts).toEqual(['checkpoint-10/state', 'checkpoint-99/state']);
  });

  it('go on when a folder cannot be removed', async () => {
    const done: number[] = [];
    open();
    uploads.checkpoint('no\0folder', [], () => done.push(10));
    await uploads.settled();
    const { dir, files } = write(20);
    uploads.checkpoint(dir, files, () => done.push(20));
    await uploads.settled();
    expect(done).toEqual([10, 20]);
  });
});
