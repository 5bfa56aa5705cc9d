import { createHash } from 'node:crypto';
import { createReadStream, rmSync } from 'node:fs';
import { chmod, link, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import { isDiskFull } from './disk-full.js';
import { READ_WRITTEN } from './written-folder.js';

/** Fetches the content of a blob, starting at `offset`. Fails with the transport's error. */
export type FetchBlob = (
  sha256: string,
  offset: number,
  signal: AbortSignal,
) => AsyncIterable<Uint8Array>;

export interface BlobCacheOptions {
  readonly folder: string;
  readonly capBytes: number;
  readonly fetch: FetchBlob;
  /** Waits before a retry after a transport error; rejects if there should be none. */
  readonly retry: (error: unknown, signal: AbortSignal) => Promise<void>;
}

/** Error for a blob whose content from the control plane does not match its hash. */
export class DamagedBlob extends DomainError {
  constructor({ name, sha256 }: BlobRef) {
    super('io_error', `file "${name}" was damaged in transfer: its sha256 is not ${sha256}`);
  }
}

export type OnBytes = (bytes: number) => void;

const PARTIAL_MS = 24 * 3600 * 1000;

interface Entry {
  readonly size: number;
  usedAt: number;
  pins: number;
  /** Whether this process has verified the hash. Files damaged while the worker was down are detected on first use. */
  verified: boolean;
}

/**
 * Cache of files by sha256. A download is written to a partial file, verified, synced and renamed, so that every cached file
 * is complete. Interrupted downloads resume. Above the size limit, the least recently used blobs are evicted, except
 * pinned ones.
 */
export class BlobCache {
  private readonly entries = new Map<string, Entry>();
  private readonly downloads = new Map<string, Promise<void>>();

  constructor(private readonly options: BlobCacheOptions) {}

  /** Reads the folder. Must complete before any other call. */
  async load(): Promise<void> {
    const { folder } = this.options;
    await mkdir(join(folder, 'blobs'), { recursive: true });
    await mkdir(join(folder, 'partial'), { recursive: true });
    for (const name of await readdir(join(folder, 'blobs'))) {
      const { size, mtimeMs } = await stat(this.path(name));
      this.entries.set(name, { size, usedAt: mtimeMs, pins: 0, verified: false });
    }
    // Remove abandoned partial downloads, which do not count towards the size limit.
    for (const name of await readdir(join(folder, 'partial'))) {
      const path = join(folder, 'partial', name);
      if (Date.now() - (await stat(path)).mtimeMs > PARTIAL_MS) await rm(path, { force: true });
    }
  }

  get bytes(): number {
    let sum = 0;
    for (const { size } of this.entries.values()) sum += size;
    return sum;
  }

  has(sha256: string): boolean {
    return this.entries.has(sha256);
  }

  /** Returns the names of all blobs, complete or partially downloaded. */
  async names(): Promise<string[]> {
    const partial = await readdir(join(this.options.folder, 'partial'));
    return [...new Set([...this.entries.keys(), ...partial])];
  }

  path(sha256: string): string {
    return join(this.options.folder, 'blobs', sha256);
  }

  /** Downloads the blob if it is missing and pins it. Call `unpin` when done. */
  async pin(ref: BlobRef, signal: AbortSignal, onBytes: OnBytes = () => undefined): Promise<void> {
    checkRef(ref);
    for (;;) {
      signal.throwIfAborted();
      const entry = this.entries.get(ref.sha256);
      if (entry === undefined) {
        await this.download(ref, signal, onBytes);
        continue;
      }
      entry.pins += 1;
      if (await this.intact(ref, entry)) break;
      entry.pins -= 1;
      await this.drop(ref.sha256);
    }
    const entry = this.entries.get(ref.sha256);
    if (entry !== undefined) entry.usedAt = Date.now();
    const now = new Date();
    await utimes(this.path(ref.sha256), now, now);
  }

  unpin(sha256: string): void {
    const entry = this.entries.get(sha256);
    if (entry !== undefined) entry.pins -= 1;
  }

  /** Adds a local file, such as an uploaded checkpoint, without copying it. */
  async adopt(path: string, ref: BlobRef): Promise<void> {
    checkRef(ref);
    if (this.entries.has(ref.sha256)) return;
    await this.makeSpace(ref.size);
    const own = this.path(ref.sha256);
    await link(path, own).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await takeOver(own).catch(async (error: unknown) => {
      await rm(own, { force: true });
      throw error;
    });
    this.entries.set(ref.sha256, { size: ref.size, usedAt: Date.now(), pins: 0, verified: false });
  }

  private async intact(ref: BlobRef, entry: Entry): Promise<boolean> {
    if (entry.size !== ref.size) return false;
    if (entry.verified) return true;
    entry.verified = (await hashOf(this.path(ref.sha256), Infinity)).digest('hex') === ref.sha256;
    return entry.verified;
  }

  private async drop(sha256: string): Promise<void> {
    this.entries.delete(sha256);
    await rm(this.path(sha256), { force: true });
  }

  private download(ref: BlobRef, signal: AbortSignal, onBytes: OnBytes): Promise<void> {
    const running = this.downloads.get(ref.sha256);
    // Another caller's download. If it fails or is canceled, the loop in `pin` starts a new one.
    if (running !== undefined) return running.catch(() => undefined);
    const download = this.fetchWhole(ref, signal, onBytes).finally(() =>
      this.downloads.delete(ref.sha256),
    );
    this.downloads.set(ref.sha256, download);
    return download;
  }

  private async fetchWhole(ref: BlobRef, signal: AbortSignal, onBytes: OnBytes): Promise<void> {
    await this.makeSpace(ref.size);
    const partial = join(this.options.folder, 'partial', ref.sha256);
    for (let damaged = 0; ;) {
      try {
        await this.fetchRest(ref, partial, signal, onBytes);
        break;
      } catch (error) {
        signal.throwIfAborted();
        // An older partial file may be damaged; download again from the start.
        if (error instanceof DamagedBlob && damaged++ === 0) continue;
        if (error instanceof DomainError) throw error;
        // The disk is smaller than the size limit; evict everything that is not pinned.
        if (isDiskFull(error) && (await this.makeSpace(ref.size, 0))) continue;
        await this.options.retry(error, signal);
      }
    }
    await chmod(partial, 0o444);
    await rename(partial, this.path(ref.sha256));
    await syncFolder(join(this.options.folder, 'blobs'));
    this.entries.set(ref.sha256, { size: ref.size, usedAt: Date.now(), pins: 0, verified: true });
  }

  private async fetchRest(
    ref: BlobRef,
    partial: string,
    signal: AbortSignal,
    onBytes: OnBytes,
  ): Promise<void> {
    const hash = await hashOf(partial, ref.size);
    const file = await open(partial, 'a', 0o600);
    try {
      let size = (await file.stat()).size;
      if (size > ref.size) {
        await file.truncate(0);
        throw new Error('the partial file is longer than the blob');
      }
      onBytes(size);
      if (size < ref.size)
        for await (const chunk of this.options.fetch(ref.sha256, size, signal)) {
          size += chunk.length;
          if (size > ref.size) break;
          hash.update(chunk);
          await file.writeFile(chunk);
          onBytes(chunk.length);
        }
      if (size < ref.size)
        throw new DomainError(
          'io_error',
          `file "${ref.name}" ended after ${size} of ${ref.size} bytes`,
        );
      if (size > ref.size || hash.digest('hex') !== ref.sha256) {
        await rm(partial, { force: true });
        throw new DamagedBlob(ref);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Removes a blob that Graft deleted, unless it is in use. Returns whether a blob was removed. */
  async forget(sha256: string): Promise<boolean> {
    if (this.downloads.has(sha256)) return false;
    // Synchronous, since a download that starts during an await would lose its file.
    rmSync(join(this.options.folder, 'partial', sha256), { force: true });
    if (this.entries.get(sha256)?.pins !== 0) return false;
    await this.drop(sha256);
    return true;
  }

  /** Removes all blobs that no run uses. */
  async dropIdle(): Promise<void> {
    await this.makeSpace(0, 0);
  }

  /** Evicts unpinned blobs to make space. Returns whether any was removed. */
  private async makeSpace(bytes: number, cap = this.options.capBytes): Promise<boolean> {
    const idle = [...this.entries].filter(([, entry]) => entry.pins === 0);
    idle.sort(([, a], [, b]) => a.usedAt - b.usedAt);
    let dropped = false;
    for (const [sha256] of idle) {
      if (this.bytes + bytes <= cap) break;
      // A run may have pinned this one during an await.
      if (this.entries.get(sha256)?.pins !== 0) continue;
      await this.drop(sha256);
      dropped = true;
    }
    return dropped;
  }
}

/** Changes the owner of a trainer's file to the worker, so that the trainer's user cannot write to it. */
async function takeOver(path: string): Promise<void> {
  const file = await open(path, READ_WRITTEN);
  try {
    const { uid } = await file.stat();
    const [user, group] = [process.getuid?.(), process.getgid?.()];
    if (user !== undefined && group !== undefined && uid !== user) await file.chown(user, group);
    await file.chmod(0o444);
  } finally {
    await file.close();
  }
}

function checkRef(ref: BlobRef): void {
  if (!/^[0-9a-f]{64}$/.test(ref.sha256))
    throw new DomainError('io_error', `"${ref.sha256.slice(0, 80)}" is not the sha256 of a blob`);
}

/** Hashes the first `limit` bytes of a file; a missing file counts as empty. */
async function hashOf(path: string, limit: number) {
  const hash = createHash('sha256');
  if (limit === 0) return hash;
  try {
    for await (const chunk of createReadStream(path, { end: limit - 1, highWaterMark: 1 << 20 }))
      hash.update(chunk as Buffer);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  return hash;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
