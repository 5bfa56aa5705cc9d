import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const CHUNK = 1 << 18;

/** Reads a regular file from start to end in chunks. */
export class FileCursor {
  readonly size: number;
  readonly #file: number;
  #chunk: Buffer = Buffer.alloc(0);
  /** File offset of the chunk's first byte. */
  #start = 0;
  #at = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    const stat = fstatSync(this.#file);
    if (!stat.isFile()) {
      this.close();
      throw new Error('not a regular file');
    }
    this.size = stat.size;
  }

  /** Offset of the next byte. */
  get position(): number {
    return this.#start + this.#at;
  }

  /** Number of bytes left. */
  get left(): number {
    return this.size - this.position;
  }

  /** Returns the next bytes, valid until the next call. @throws Error if the file ends before them */
  take(bytes: number): Buffer {
    if (bytes > this.left)
      throw new Error(`the file is truncated: expected ${bytes} bytes at ${this.position}`);
    if (this.#at + bytes > this.#chunk.length) {
      this.#start = this.position;
      this.#at = 0;
      this.#chunk = this.read(this.#start, Math.min(Math.max(bytes, CHUNK), this.left));
    }
    const taken = this.#chunk.subarray(this.#at, this.#at + bytes);
    this.#at += bytes;
    return taken;
  }

  /**
   * Reads bytes at any position, into `buffer` if given. Does not move the position.
   * @throws Error if the file is shorter
   */
  read(position: number, bytes: number, buffer = Buffer.allocUnsafe(bytes)): Buffer {
    for (let done = 0; done < bytes;) {
      const got = readSync(this.#file, buffer, done, bytes - done, position + done);
      if (got === 0)
        throw new Error(`the file is truncated: expected ${bytes} bytes at ${position}`);
      done += got;
    }
    return buffer;
  }

  close(): void {
    closeSync(this.#file);
  }
}
