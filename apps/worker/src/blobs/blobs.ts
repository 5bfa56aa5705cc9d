import { MAX_BLOB_NAMES } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import { Backoff, pause, type BackoffRange } from '../connection/backoff.js';
import { isFull, isTransient } from '../connection/connection-error.js';
import { BlobCache } from './blob-cache.js';
import { assemble, type BlobFolder, type OnProgress } from './blob-folder.js';
import {
  fetchBlob,
  findDeleted,
  putBlob,
  putState,
  type Line,
  type PutUnder,
} from './blob-transfer.js';

export interface BlobsOptions {
  readonly line: Line;
  /** The cache's own; nobody else may enter it. */
  readonly folder: string;
  readonly capBytes: number;
  /** Makes a folder that trainers can read. */
  readonly makeFolder: (path: string) => Promise<void>;
  readonly log: Logger;
  readonly backoff?: BackoffRange;
}

/** Waits of an upload that the control plane has no room for; each reason is given as often as it is tried again. */
export type OnWait = (reason: string) => void;

/** Files by sha256 on their way between the control plane, this node's cache and the folders of trainers. */
export class Blobs {
  private readonly cache: BlobCache;
  private dropping: Promise<void> | null = null;

  constructor(private readonly options: BlobsOptions) {
    const { line, folder, capBytes } = options;
    this.cache = new BlobCache({
      folder,
      capBytes,
      fetch: (sha256, offset, signal) => fetchBlob(line, sha256, offset, signal),
      retry: (error, signal) => this.retryUntilConnected(error, signal),
    });
  }

  /** To be awaited before anything else. */
  open(): Promise<void> {
    return this.cache.load();
  }

  /** A folder at `path` with these files; what is missing is fetched, however long the line is down. */
  folder(
    path: string,
    files: readonly BlobRef[],
    signal: AbortSignal,
    onProgress?: OnProgress,
  ): Promise<BlobFolder> {
    const { cache } = this;
    return assemble(
      { cache, makeFolder: this.options.makeFolder },
      path,
      files,
      signal,
      onProgress,
    );
  }

  /** Puts one file under a lease, again while the control plane is away or full, from where it was cut. */
  async put(
    lease: PutUnder,
    path: string,
    ref: BlobRef,
    signal: AbortSignal,
    onWait: OnWait,
  ): Promise<void> {
    const { line } = this.options;
    const backoff = new Backoff(this.options.backoff);
    for (let offset = 0; ; offset = await putState(line, lease, ref)) {
      try {
        return await putBlob(line, lease, path, ref, offset, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error)) throw error;
        if (isFull(error)) onWait(error.details);
        await pause(backoff.next(), signal);
      }
    }
  }

  /** Keeps a file that was put: fetching it on this node needs no download. */
  adopt(path: string, ref: BlobRef): Promise<void> {
    return this.cache.adopt(path, ref);
  }

  /** Where the disk is full: what no run uses goes. Never rejects. */
  async dropIdle(): Promise<void> {
    try {
      await this.cache.dropIdle();
    } catch (error) {
      this.options.log.warn({ err: error }, 'could not drop what no run uses from the cache');
    }
  }

  /**
   * Asks the control plane which blobs of the cache are deleted, and deletes those that nothing uses; the others are
   * asked about again the next time. Never rejects.
   */
  dropDeleted(): Promise<void> {
    this.dropping ??= this.findAndDrop()
      .catch((error: unknown) => this.keepDeleted(error))
      .finally(() => (this.dropping = null));
    return this.dropping;
  }

  private async findAndDrop(): Promise<void> {
    const names = await this.cache.held();
    let dropped = 0;
    for (let from = 0; from < names.length; from += MAX_BLOB_NAMES) {
      const asked = names.slice(from, from + MAX_BLOB_NAMES);
      const deleted = new Set(await findDeleted(this.options.line, asked));
      for (const sha256 of asked)
        if (deleted.has(sha256) && (await this.cache.forget(sha256))) dropped++;
    }
    if (dropped > 0)
      this.options.log.info({ dropped }, 'deleted from the cache what Graft deleted');
  }

  private keepDeleted(error: unknown): void {
    this.options.log.warn({ err: error }, 'could not ask what is deleted; asking again later');
  }

  private async retryUntilConnected(error: unknown, signal: AbortSignal): Promise<void> {
    if (error instanceof Error && 'code' in error && !isTransient(error)) throw error;
    this.options.log.debug(
      { error: error instanceof Error ? error.message : String(error) },
      'a download was interrupted; it will be resumed',
    );
    await pause(new Backoff(this.options.backoff).next(), signal);
  }
}
