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
  /** Folder of the cache, which other users must not be able to access. */
  readonly folder: string;
  readonly capBytes: number;
  /** Creates a folder that trainers can read. */
  readonly makeFolder: (path: string) => Promise<void>;
  readonly log: Logger;
  readonly backoff?: BackoffRange;
}

/** Called with the reason before each retry of an upload that the control plane has no space for. */
export type OnWait = (reason: string) => void;

/** Transfers files between the control plane, this node's cache and the folders of trainers. */
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

  /** Loads the cache. Must complete before any other call. */
  open(): Promise<void> {
    return this.cache.load();
  }

  /** Creates a folder with these files. Missing files are fetched, waiting for the connection if necessary. */
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

  /** Uploads a file. Retries while the control plane is unavailable or full, and resumes interrupted uploads. */
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

  /** Adds an uploaded file to the cache, so that this node need not download it. */
  adopt(path: string, ref: BlobRef): Promise<void> {
    return this.cache.adopt(path, ref);
  }

  /** Removes everything that no run uses from the cache, when the disk is full. Never rejects. */
  async dropIdle(): Promise<void> {
    try {
      await this.cache.dropIdle();
    } catch (error) {
      this.options.log.warn({ err: error }, 'could not remove unused blobs from the cache');
    }
  }

  /**
   * Asks the control plane which blobs of the cache were deleted, and removes those that are not in use. The others are
   * checked again next time. Never rejects.
   */
  dropDeleted(): Promise<void> {
    this.dropping ??= this.findAndDrop()
      .catch((error: unknown) => this.keepDeleted(error))
      .finally(() => (this.dropping = null));
    return this.dropping;
  }

  private async findAndDrop(): Promise<void> {
    const names = await this.cache.names();
    let dropped = 0;
    for (let from = 0; from < names.length; from += MAX_BLOB_NAMES) {
      const batch = names.slice(from, from + MAX_BLOB_NAMES);
      const deleted = new Set(await findDeleted(this.options.line, batch));
      for (const sha256 of batch)
        if (deleted.has(sha256) && (await this.cache.forget(sha256))) dropped++;
    }
    if (dropped > 0) this.options.log.info({ dropped }, 'removed deleted blobs from the cache');
  }

  private keepDeleted(error: unknown): void {
    this.options.log.warn({ err: error }, 'could not look for deleted blobs; will retry later');
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
