// The picture or sound that a question is about: it comes in pieces, and lies in a file until the question is answered.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { removeWritten } from '../blobs/written-folder.js';

export class AskedMedia {
  private readonly pieces: Uint8Array[] = [];
  private wake: () => void = () => undefined;

  /**
   * @param folder of its own
   * @param bytes that are to come
   */
  constructor(
    private readonly folder: string,
    readonly bytes: number,
  ) {}

  add(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.wake();
  }

  /**
   * Writes what comes, until all of it is there; the file's path.
   * @param makeFolder makes one that trainers can read
   * @throws DomainError where more comes than was said, what `signal` was aborted with
   */
  async written(makeFolder: (path: string) => Promise<void>, signal: AbortSignal): Promise<string> {
    await removeWritten(this.folder);
    await makeFolder(this.folder);
    const path = join(this.folder, 'media');
    const file = await open(path, 'wx', 0o644);
    const wake = (): void => this.wake();
    signal.addEventListener('abort', wake, { once: true });
    try {
      let left = this.bytes;
      while (left > 0) {
        signal.throwIfAborted();
        const piece = this.pieces.shift();
        if (piece) await file.appendFile(piece);
        else await new Promise<void>((resolve) => (this.wake = resolve));
        left -= piece?.length ?? 0;
      }
      if (left < 0)
        throw new DomainError('internal_error', 'more came of the file than was announced');
      return path;
    } finally {
      signal.removeEventListener('abort', wake);
      await file.close();
    }
  }

  /** Never rejects: what stays goes when the worker starts again. */
  remove(): Promise<void> {
    return removeWritten(this.folder).catch(() => undefined);
  }
}
