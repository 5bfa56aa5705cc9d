// Image or audio file of a model request. It arrives in chunks and is stored in a file until the request is complete.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { removeWritten } from '../blobs/written-folder.js';

export class RequestMedia {
  private readonly chunks: Uint8Array[] = [];
  private wake: () => void = () => undefined;

  /**
   * @param folder folder for this file only
   * @param bytes expected size
   */
  constructor(
    private readonly folder: string,
    readonly bytes: number,
  ) {}

  add(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    this.wake();
  }

  /**
   * Writes the chunks until the file is complete. Returns its path.
   * @param makeFolder creates a folder that trainers can read
   * @throws DomainError if the file is larger than expected; the reason of `signal` if it was aborted
   */
  async written(makeFolder: (path: string) => Promise<void>, signal: AbortSignal): Promise<string> {
    await removeWritten(this.folder);
    await makeFolder(this.folder);
    const path = join(this.folder, 'media');
    const file = await open(path, 'wx', 0o644);
    const wake = (): void => this.wake();
    signal.addEventListener('abort', wake, { once: true });
    try {
      let remaining = this.bytes;
      while (remaining > 0) {
        signal.throwIfAborted();
        const chunk = this.chunks.shift();
        if (chunk) await file.appendFile(chunk);
        else await new Promise<void>((resolve) => (this.wake = resolve));
        remaining -= chunk?.length ?? 0;
      }
      if (remaining < 0)
        throw new DomainError('internal_error', 'the file is larger than announced');
      return path;
    } finally {
      signal.removeEventListener('abort', wake);
      await file.close();
    }
  }

  /** Removes the file. Never rejects; remaining files are removed at the next start. */
  remove(): Promise<void> {
    return removeWritten(this.folder).catch(() => undefined);
  }
}
