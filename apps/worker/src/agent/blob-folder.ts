import { link } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { BlobCache } from './blob-cache.js';
import type { Trainers } from './trainers.js';
import { isPlainName, removeWritten } from './written-folder.js';

/** Where the blobs come from, and who makes folders that trainers can read. */
export interface FolderMakers {
  readonly cache: BlobCache;
  readonly trainers: Pick<Trainers, 'makeFolder'>;
}

export interface BlobFolder {
  readonly path: string;
  /** Removes the folder and lets the cache drop its blobs. */
  release(): Promise<void>;
}

/**
 * A folder holding blobs under their own names, as hard links into the cache: no byte is copied and an
 * evicted blob cannot vanish under a reader. `onProgress` gets 0..1 while blobs are downloaded.
 */
export async function assemble(
  { cache, trainers }: FolderMakers,
  path: string,
  files: readonly BlobRef[],
  signal: AbortSignal,
  onProgress: (share: number) => void = () => undefined,
): Promise<BlobFolder> {
  const pinned: string[] = [];
  const release = async () => {
    for (const sha256 of pinned.splice(0)) cache.unpin(sha256);
    // Links that stay cost nothing, and go when the worker starts again.
    await removeWritten(path).catch(() => undefined);
  };
  const missing = files
    .filter((file) => !cache.has(file.sha256))
    .reduce((sum, file) => sum + file.size, 0);
  let arrived = 0;
  try {
    await removeWritten(path);
    await trainers.makeFolder(path);
    for (const file of files) {
      checkName(file.name);
      await cache.pin(file, signal, (bytes) => {
        arrived += bytes;
        if (missing > 0) onProgress(Math.min(1, arrived / missing));
      });
      pinned.push(file.sha256);
      await link(cache.path(file.sha256), join(path, file.name));
    }
    return { path, release };
  } catch (error) {
    await release();
    throw error;
  }
}

function checkName(name: string): void {
  if (!isPlainName(name))
    throw new DomainError(
      'io_error',
      `the control plane named a file "${name.slice(0, 80)}", which is no plain file name`,
    );
}
