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

/**
 * Files of one run on their way up, one set after another. A checkpoint that still waits when a newer
 * one comes is left out: away from the control plane only the latest matters.
 */
export class Uploads {
  private chain: Promise<void> = Promise.resolve();
  private newest = 0;

  constructor(private readonly options: UploadsOptions) {}

  /** Puts a checkpoint's files, then calls `done`, then removes its folder. */
  checkpoint(dir: string, files: readonly WrittenFile[], done: () => void): void {
    const turn = ++this.newest;
    this.chain = this.chain.then(async () => {
      try {
        if (turn === this.newest) {
          await this.put(dir, files);
          done();
        }
      } catch (error) {
        if (!this.options.signal.aborted) this.options.onFailure(error);
      }
      await rm(dir, { recursive: true, force: true });
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
    for (const ref of blobs(files)) {
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
}
