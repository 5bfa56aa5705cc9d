import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { WrittenFile } from '../trainer/protocol.js';
import { blobs } from './facts.js';
import type { BlobCache } from './blob-cache.js';

export interface UploadsOptions {
  readonly cache: BlobCache;
  /** Puts one file under the run's lease, trying again while the control plane is away. */
  readonly put: (path: string, ref: BlobRef, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
  /** What could not be put; the run goes on. */
  readonly onFailure: (error: unknown) => void;
}

/** Files of one set that travel at the same time. */
const AT_ONCE = 4;

/**
 * Files of one run on their way up, one set after another. A checkpoint that still waits when a newer
 * one comes is left out: away from the control plane only the latest matters.
 */
export class Uploads {
  private chain: Promise<void> = Promise.resolve();
  private newest = 0;
  /** The last checkpoint given for each folder: a run told to stop may save the same step again. */
  private readonly owners = new Map<string, number>();

  constructor(private readonly options: UploadsOptions) {}

  /** Puts a checkpoint's files, then calls `done`, then removes its folder. */
  checkpoint(dir: string, files: readonly WrittenFile[], done: () => void): void {
    const turn = ++this.newest;
    this.owners.set(dir, turn);
    this.chain = this.chain.then(async () => {
      try {
        if (turn === this.newest) {
          await this.put(dir, files);
          done();
        }
      } catch (error) {
        if (!this.options.signal.aborted) this.options.onFailure(error);
      }
      if (this.owners.get(dir) !== turn) return;
      this.owners.delete(dir);
      // Where that fails it goes with the run's folder; what comes after must not stop for it.
      await rm(dir, { recursive: true, force: true }).catch(() => undefined);
    });
  }

  /** Resolves when everything given before is up, then puts these files too. */
  async last(dir: string, files: readonly WrittenFile[]): Promise<void> {
    await this.chain;
    await this.put(dir, files);
  }

  /** Resolves when everything given before is up or given up. */
  settled(): Promise<void> {
    return this.chain;
  }

  private async put(dir: string, files: readonly WrittenFile[]): Promise<void> {
    const waiting = blobs(files);
    const lane = async () => {
      for (let ref = waiting.shift(); ref !== undefined; ref = waiting.shift())
        await this.putFile(dir, ref);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
  }

  private async putFile(dir: string, ref: BlobRef): Promise<void> {
    if (ref.name.includes('/') || ref.name.startsWith('.'))
      throw new DomainError(
        'io_error',
        `the trainer wrote "${ref.name}", which is no plain file name`,
      );
    const path = join(dir, ref.name);
    await this.options.put(path, ref, this.options.signal);
    // Resuming on this node then needs no download.
    await this.options.cache.adopt(path, ref);
  }
}
