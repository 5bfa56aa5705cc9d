import { createReadStream, type ReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobBackend, StoredBlob } from './blob-backend.js';
import { sweepFolder } from './sweep-folder.js';

const MARKER = 'installation';

/**
 * Stores blobs as `<folder>/<first two>/<hash>`. A name appears only after its bytes were synced, so every existing
 * file is complete. Several API processes may share the folder.
 */
export class FolderBackend implements BlobBackend {
  readonly incoming: string;

  constructor(readonly place: string) {
    this.incoming = join(place, 'incoming');
  }

  async open(): Promise<void> {
    await mkdir(this.incoming, { recursive: true });
  }

  async marker(): Promise<string | null> {
    try {
      return (await readFile(join(this.place, MARKER), 'utf8')).trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  async mark(text: string): Promise<void> {
    const file = await open(join(this.place, MARKER), 'w', 0o644);
    await file.writeFile(`${text}\n`);
    await file.sync();
    await file.close();
  }

  async stage(): Promise<void> {
    // The file is already on the disk of the blobs.
  }

  async commit(path: string, { sha256, size }: StoredBlob): Promise<void> {
    const folder = join(this.place, sha256.slice(0, 2));
    await mkdir(folder, { recursive: true });
    await rename(path, join(folder, sha256)).catch(async (error: NodeJS.ErrnoException) => {
      // The transaction is being retried, and an earlier run has moved the file.
      if (error.code !== 'ENOENT' || (await this.size(sha256)) !== size) throw error;
    });
    const directory = await open(folder, 'r');
    await directory.sync();
    await directory.close();
  }

  async size(sha256: string): Promise<number | null> {
    try {
      return (await stat(this.path(sha256))).size;
    } catch (error) {
      // Other errors of a disk or a network file system do not mean that the bytes are lost.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  read(sha256: string, offset: number): ReadStream {
    return createReadStream(this.path(sha256), { start: offset, highWaterMark: 256 * 1024 });
  }

  async file({ sha256 }: StoredBlob): Promise<string> {
    return this.path(sha256);
  }

  async url(): Promise<null> {
    return null;
  }

  async remove(sha256: string): Promise<void> {
    await rm(this.path(sha256), { force: true });
  }

  /**
   * Removes incoming files that were not written to recently. Newer ones may belong to a running upload, here or in
   * another process.
   */
  sweep(leftMs: number): Promise<void> {
    return sweepFolder(this.incoming, leftMs);
  }

  private path(sha256: string): string {
    return join(this.place, sha256.slice(0, 2), sha256);
  }
}
