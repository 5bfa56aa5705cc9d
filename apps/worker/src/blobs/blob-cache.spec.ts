import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobRef } from '@graft/contracts/grpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';
import { BlobCache, DamagedBlob } from './blob-cache.js';
import { makeTrainerFolder } from '../trainer-pool/sandbox.js';
import { assemble, type FolderMakers } from './blob-folder.js';

let folder: string;
let store: Map<string, Buffer>;
let fetches: number[];
let chunkBytes: number;
/** Number of bytes after which the transport fails once. */
let breakAt: number | null;
let failRetry: Error | null;
const never = new AbortController().signal;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-cache-'));
  store = new Map();
  fetches = [];
  chunkBytes = 1000;
  breakAt = null;
  failRetry = null;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(size: number): BlobRef {
  const data = randomBytes(size);
  const sha256 = createHash('sha256').update(data).digest('hex');
  store.set(sha256, data);
  return { name: 'f.bin', sha256, size };
}

async function openCache(capBytes = 1e9): Promise<BlobCache> {
  const cache = new BlobCache({
    folder,
    capBytes,
    async *fetch(sha256, offset) {
      fetches.push(offset);
      const data = store.get(sha256) ?? Buffer.alloc(0);
      for (let at = offset; at < data.length; at += chunkBytes) {
        if (breakAt !== null && at >= breakAt) {
          breakAt = null;
          throw new Error('the line broke');
        }
        yield data.subarray(at, at + chunkBytes);
      }
    },
    retry: async () => {
      if (failRetry) throw failRetry;
    },
  });
  await cache.load();
  return cache;
}

const makers = (cache: BlobCache): FolderMakers => ({
  cache,
  makeFolder: (path) => makeTrainerFolder(path, null),
});

describe('a blob cache', () => {
  it('fetches a blob once, also for concurrent callers', async () => {
    const cache = await openCache();
    const ref = put(10_500);
    await Promise.all([cache.pin(ref, never), cache.pin(ref, never), cache.pin(ref, never)]);
    expect(fetches).toEqual([0]);
    expect(readFileSync(cache.path(ref.sha256))).toEqual(store.get(ref.sha256));
    expect(statSync(cache.path(ref.sha256)).mode & 0o777).toBe(0o444);
  });

  it('resumes an interrupted download, also in the next process', async () => {
    const ref = put(10_000);
    breakAt = 4000;
    await (await openCache()).pin(ref, never);
    expect(fetches).toEqual([0, 4000]);
    const other = put(10_000);
    writeFileSync(
      join(folder, 'partial', other.sha256),
      store.get(other.sha256)?.subarray(0, 7000) ?? '',
    );
    await (await openCache()).pin(other, never);
    expect(fetches).toEqual([0, 4000, 7000]);
  });

  it('downloads a damaged blob again from the start, then fails', async () => {
    const ref = put(10_000);
    const cache = await openCache();
    writeFileSync(join(folder, 'partial', ref.sha256), randomBytes(7000));
    await cache.pin(ref, never);
    expect(fetches).toEqual([7000, 0]);
    expect(readFileSync(cache.path(ref.sha256))).toEqual(store.get(ref.sha256));
    const bad = put(10_000);
    store.get(bad.sha256)?.fill(0, 5000, 5100);
    await expect(cache.pin(bad, never)).rejects.toThrow(DamagedBlob);
    expect(fetches).toEqual([7000, 0, 0, 0]);
  });

  it('removes partial downloads after a day', async () => {
    await openCache();
    for (const [name, hours] of [
      ['old', 25],
      ['young', 23],
    ] as const) {
      const path = join(folder, 'partial', name);
      writeFileSync(path, 'half');
      utimesSync(path, new Date(), new Date(Date.now() - hours * 3600 * 1000));
    }
    await openCache();
    expect(readdirSync(join(folder, 'partial'))).toEqual(['young']);
  });

  it.each(['other bytes', 'too few bytes', 'too many bytes'])(
    'rejects a blob with %s',
    async (fault) => {
      const ref = put(5000);
      const data = store.get(ref.sha256) ?? Buffer.alloc(0);
      if (fault === 'other bytes') data[100] = (data[100] ?? 0) ^ 1;
      else if (fault === 'too many bytes') store.set(ref.sha256, Buffer.concat([data, data]));
      else store.set(ref.sha256, data.subarray(0, 4000));
      const cache = new BlobCache({
        folder,
        capBytes: 1e9,
        async *fetch(sha256, offset) {
          yield (store.get(sha256) ?? Buffer.alloc(0)).subarray(offset);
        },
        retry: (error) => Promise.reject(error),
      });
      await cache.load();
      await expect(cache.pin(ref, never)).rejects.toThrow(
        fault === 'too few bytes' ? 'ended after 4000 of 5000' : 'damaged in transfer',
      );
      expect(cache.has(ref.sha256)).toBe(false);
    },
  );

  it('detects a file that was damaged on disk on first use and fetches it again', async () => {
    const ref = put(3000);
    await (await openCache()).pin(ref, never);
    const path = join(folder, 'blobs', ref.sha256);
    chmodSync(path, 0o600);
    writeFileSync(path, Buffer.alloc(3000));
    const cache = await openCache();
    await cache.pin(ref, never);
    expect(readFileSync(path)).toEqual(store.get(ref.sha256));
    expect(fetches).toEqual([0, 0]);
  });

  it('evicts the least recently used blobs, never pinned ones', async () => {
    const cache = await openCache(10_000);
    const [a, b, c, d] = [put(4000), put(4000), put(4000), put(4000)];
    await cache.pin(a, never);
    await cache.pin(b, never);
    cache.unpin(b.sha256);
    await cache.pin(c, never);
    expect([a, b, c].map((ref) => cache.has(ref.sha256))).toEqual([true, false, true]);
    cache.unpin(a.sha256);
    cache.unpin(c.sha256);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await cache.pin(a, never);
    cache.unpin(a.sha256);
    await cache.pin(d, never);
    expect([a, c, d].map((ref) => cache.has(ref.sha256))).toEqual([true, false, true]);
    expect(cache.bytes).toBe(8000);
  });

  it('removes all unpinned blobs on request', async () => {
    const cache = await openCache();
    const [used, idle] = [put(4000), put(4000)];
    await cache.pin(used, never);
    await cache.pin(idle, never);
    cache.unpin(idle.sha256);
    await cache.dropIdle();
    expect([used, idle].map(({ sha256 }) => cache.has(sha256))).toEqual([true, false]);
    expect(readdirSync(join(folder, 'blobs'))).toEqual([used.sha256]);
  });

  it('keeps a blob that a run pins during an eviction', async () => {
    const cache = await openCache();
    const idle = [put(4000), put(4000), put(4000)];
    for (const ref of idle) await cache.pin(ref, never);
    for (const { sha256 } of idle) cache.unpin(sha256);
    const last = idle[2] as BlobRef;
    await Promise.all([cache.dropIdle(), cache.pin(last, never)]);
    expect(readdirSync(join(folder, 'blobs'))).toEqual([last.sha256]);
    expect(idle.map(({ sha256 }) => cache.has(sha256))).toEqual([false, false, true]);
  });

  it.skipIf(!canMount)('evicts unused blobs if the disk is smaller than the limit', async () => {
    const disk = SmallDisk.mount(folder, 1);
    try {
      const cache = await openCache();
      const [used, idle, next, more] = [put(400_000), put(400_000), put(400_000), put(400_000)];
      await cache.pin(used, never);
      await cache.pin(idle, never);
      cache.unpin(idle.sha256);
      await cache.pin(next, never);
      expect([used, idle, next].map(({ sha256 }) => cache.has(sha256))).toEqual([
        true,
        false,
        true,
      ]);
      const whole = readFileSync(cache.path(next.sha256));
      expect(whole.equals(store.get(next.sha256) ?? Buffer.alloc(0))).toBe(true);
      failRetry = new Error('given up');
      await expect(cache.pin(more, never)).rejects.toThrow('given up');
    } finally {
      disk.unmount();
    }
  });

  it('creates a folder of links that unpins its blobs when released', async () => {
    const cache = await openCache();
    const files = [
      { ...put(100), name: 'config.json' },
      { ...put(5000), name: 'model-00001-of-00002.safetensors' },
    ];
    const shares: number[] = [];
    const place = await assemble(makers(cache), join(folder, 'base'), files, never, (share) =>
      shares.push(share),
    );
    for (const file of files) {
      expect(readFileSync(join(place.path, file.name))).toEqual(store.get(file.sha256));
      expect(statSync(join(place.path, file.name)).ino).toBe(statSync(cache.path(file.sha256)).ino);
    }
    expect(shares.at(-1)).toBe(1);
    await place.release();
    expect(() => statSync(place.path)).toThrow('ENOENT');
    expect(cache.has(files[0]?.sha256 ?? '')).toBe(true);
  });

  it.each(['../x', '/etc/passwd', 'a/b', '..', '.hidden', 'a\\b', '', 'x'.repeat(300), 'nul\0'])(
    'rejects the file name %j',
    async (name) => {
      const cache = await openCache();
      await expect(
        assemble(makers(cache), join(folder, 'base'), [{ ...put(10), name }], never),
      ).rejects.toThrow('not a plain file name');
    },
  );

  it('does not adopt a link', async () => {
    const cache = await openCache();
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'not for uploads', { mode: 0o600 });
    const planted = join(folder, 'adapter_model.safetensors');
    symlinkSync(secret, planted);
    const ref = put(15);
    await expect(cache.adopt(planted, ref)).rejects.toThrow('ELOOP');
    expect(cache.has(ref.sha256)).toBe(false);
    expect(existsSync(cache.path(ref.sha256))).toBe(false);
    expect(statSync(secret).mode & 0o777).toBe(0o600);
  });

  it('rejects a path as a hash', async () => {
    const cache = await openCache();
    await expect(
      cache.pin({ name: 'x', sha256: '../../../etc/passwd', size: 1 }, never),
    ).rejects.toThrow('is not the sha256 of a blob');
  });
});
