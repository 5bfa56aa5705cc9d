import { link } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { BlobCache } from './blob-cache.js';
import { isPlainName, removeWritten } from './written-folder.js';

/** Cache of the blobs, and a function that creates folders that trainers can read. */
export interface FolderMakers {
  readonly cache: BlobCache;
  readonly makeFolder: (path: string) => Promise<void>;
}

/** Receives the progress of a download, from 0 to 1. */
export type OnProgress = (share: number) => void;

export interface BlobFolder {
  readonly path: string;
  /** Removes the folder and unpins its blobs. */
  release(): Promise<void>;
}

/**
 * Creates a folder with blobs as hard links into the cache, so that no data are copied and evicted blobs stay readable. File
 * names may start with the number of a subfolder (`0/`).
 */
export async function assemble(
  { cache, makeFolder }: FolderMakers,
  path: string,
  files: readonly BlobRef[],
  signal: AbortSignal,
  onProgress: OnProgress = () => undefined,
): Promise<BlobFolder> {
  const pinned: string[] = [];
  const release = async () => {
    for (const sha256 of pinned.splice(0)) cache.unpin(sha256);
    // Remaining links use no space and are removed at the next start.
    await removeWritten(path).catch(() => undefined);
  };
  const missing = files
    .filter((file) => !cache.has(file.sha256))
    .reduce((sum, file) => sum + file.size, 0);
  let arrived = 0;
  try {
    await removeWritten(path);
    await makeFolder(path);
    const inside = new Set(files.map(({ name }) => folderIn(name)).filter((name) => name !== ''));
    for (const name of inside) await makeFolder(join(path, name));
    for (const file of files) {
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

/** Returns the subfolder of a file, or an empty string. @throws DomainError for an invalid name */
function folderIn(name: string): string {
  const [, folder = '', plain = name] = /^(?:(\d)\/)?(.*)$/s.exec(name) ?? [];
  if (isPlainName(plain)) return folder;
  throw new DomainError(
    'io_error',
    `the control plane sent the file name "${name.slice(0, 80)}", which is not a plain file name`,
  );
}
