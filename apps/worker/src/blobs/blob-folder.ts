import { link } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { BlobCache } from './blob-cache.js';
import { isPlainName, removeWritten } from './written-folder.js';

/** Where the blobs come from, and who makes folders that trainers can read. */
export interface FolderMakers {
  readonly cache: BlobCache;
  readonly makeFolder: (path: string) => Promise<void>;
}

/** Gets the share that is there, 0..1, while blobs are downloaded. */
export type OnProgress = (share: number) => void;

export interface BlobFolder {
  readonly path: string;
  /** Removes the folder and lets the cache drop its blobs. */
  release(): Promise<void>;
}

/**
 * A folder holding blobs under their own names, which may begin with the number of a folder in it (`0/`), as hard links into the cache: no byte is copied and an
 * evicted blob cannot vanish under a reader.
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
    // Links that stay cost nothing, and go when the worker starts again.
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

/** The folder that a file is in, or nothing. @throws DomainError for another name than we give */
function folderIn(name: string): string {
  const [, folder = '', plain = name] = /^(?:(\d)\/)?(.*)$/s.exec(name) ?? [];
  if (isPlainName(plain)) return folder;
  throw new DomainError(
    'io_error',
    `the control plane named a file "${name.slice(0, 80)}", which is not a plain file name`,
  );
}
