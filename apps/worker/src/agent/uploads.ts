import type { BlobRef } from '@graft/contracts/grpc';
import { ADAPTER_FOLDER, checkpointFolder, type WrittenFile } from '../trainer/protocol.js';
import type { BlobCache } from './blob-cache.js';
import { blobs } from './facts.js';
import { removeInside, WrittenFolder } from './written-folder.js';

export interface UploadsOptions {
  /** Where the trainer writes. Its facts name no other place: it could be deceived, or deceive. */
  readonly workDir: string;
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
  /** The last checkpoint given for each step: a run told to stop may save the same one again. */
  private readonly owners = new Map<number, number>();

  constructor(private readonly options: UploadsOptions) {}

  /** Puts a checkpoint's files, then calls `done`, then removes its folder. */
  checkpoint(step: number, files: readonly WrittenFile[], done: () => void): void {
    const turn = ++this.newest;
    const folder = checkpointFolder(step);
    this.owners.set(step, turn);
    this.chain = this.chain.then(async () => {
      try {
        if (turn === this.newest) {
          await this.put(folder, files);
          done();
        }
      } catch (error) {
        if (!this.options.signal.aborted) this.options.onFailure(error);
      }
      if (this.owners.get(step) !== turn) return;
      this.owners.delete(step);
      // Where that fails it goes with the run's folder; what comes after must not stop for it.
      await removeInside(this.options.workDir, folder).catch(() => undefined);
    });
  }

  /** When everything given before is up, puts the adapter's files too. */
  async last(files: readonly WrittenFile[]): Promise<void> {
    await this.chain;
    await this.put(ADAPTER_FOLDER, files);
  }

  /** Resolves when everything given before is up or given up. */
  settled(): Promise<void> {
    return this.chain;
  }

  private async put(name: string, files: readonly WrittenFile[]): Promise<void> {
    const folder = await WrittenFolder.open(this.options.workDir, name);
    const waiting = blobs(files);
    const lane = async () => {
      for (let ref = waiting.shift(); ref !== undefined; ref = waiting.shift())
        await this.putFile(folder, ref);
    };
    const lanes = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
    await folder.close();
    for (const end of lanes) if (end.status === 'rejected') throw end.reason;
  }

  private async putFile(folder: WrittenFolder, ref: BlobRef): Promise<void> {
    const path = folder.file(ref.name);
    await this.options.put(path, ref, this.options.signal);
    // Resuming on this node then needs no download.
    await this.options.cache.adopt(path, ref);
  }
}
