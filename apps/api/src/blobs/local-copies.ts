import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { randomText } from '../ids.js';
import type { StoredBlob } from './blob-backend.js';

const CAP_BYTES = 20 * 1024 ** 3;
/** Maximum share of the disk. Uploads need space on it, too. */
const CAP_SHARE = 0.25;
/** Time within which a reader has opened the file. */
const IN_USE_MS = 3600 * 1000;

/** Cache of blobs from other storage, for readers that need local files. The least recently used are evicted. */
export class LocalCopies {
  constructor(private readonly folder: string) {}

  async open(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
  }

  /** Returns the path of the blob's file; downloads the blob if it is not cached. */
  async get({ sha256, size }: StoredBlob, read: () => Readable): Promise<string> {
    const path = join(this.folder, sha256);
    if ((await stat(path).catch(() => null))?.size === size) {
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined);
      return path;
    }
    const temporary = join(this.folder, `${randomText()}.part`);
    try {
      await pipeline(read(), createWriteStream(temporary, { flags: 'wx', mode: 0o600 }));
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    return path;
  }

  /** Moves a file that was just uploaded to the storage into the cache. */
  async take(path: string, { sha256 }: StoredBlob): Promise<void> {
    await rename(path, join(this.folder, sha256)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  async drop(sha256: string): Promise<void> {
    await rm(join(this.folder, sha256), { force: true });
  }

  async shrink(): Promise<void> {
    const disk = await statfs(this.folder);
    const capBytes = Math.min(CAP_BYTES, CAP_SHARE * disk.blocks * disk.bsize);
    const files = [];
    for (const name of await readdir(this.folder)) {
      const path = join(this.folder, name);
      const found = await stat(path).catch(() => null);
      if (found) files.push({ path, size: found.size, usedAt: found.mtimeMs });
    }
    let bytes = files.reduce((sum, file) => sum + file.size, 0);
    for (const file of files.sort((a, b) => a.usedAt - b.usedAt)) {
      if (bytes <= capBytes || Date.now() - file.usedAt < IN_USE_MS) return;
      await rm(file.path, { force: true });
      bytes -= file.size;
    }
  }
}
