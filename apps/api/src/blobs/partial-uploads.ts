import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { randomText, sha256 } from '../ids.js';

/** Number of hash states kept. Files without one are read and hashed again. */
const MOST_STATES = 64;

/** A partial file opened for appending, with the hash state of its content. */
export interface Resumed {
  readonly path: string;
  readonly file: FileHandle;
  readonly hash: Hash;
  /** False after another request in this process resumed the same upload: this one should stop writing. */
  isCurrent(): boolean;
  /** Closes the upload and keeps the received bytes for the next attempt. */
  leave(size: number): void;
  /** Ends the upload when its file has been moved or will be deleted. */
  end(): void;
}

/** State of an interrupted upload in this process. No request writes to its file. */
interface StoredPart {
  readonly path: string;
  readonly hash: Hash;
  readonly size: number;
}

/**
 * Interrupted uploads that can be resumed, also by another process. Each is a file whose name is derived from the
 * upload's key. A file that another request or process may have open is never written to: it may become a blob, whose
 * bytes must not change.
 */
export class PartialUploads {
  private readonly left = new Map<string, StoredPart>();
  private readonly current = new Map<string, object>();

  constructor(private readonly folder: string) {}

  /** Returns the number of bytes received. */
  async received(key: string): Promise<number> {
    return Math.max(0, ...(await this.files(key)).map(({ size }) => size));
  }

  /**
   * Resumes an upload at `offset`.
   * @throws DomainError if fewer than `offset` bytes were received
   */
  async resume(key: string, offset: number): Promise<Resumed> {
    const turn = {};
    this.current.set(key, turn);
    const left = this.left.get(key);
    this.left.delete(key);
    const resumable = left?.size === offset ? left : null;
    const path = resumable?.path ?? (await this.begin(key, offset));
    const file = await open(path, 'r+');
    try {
      await file.truncate(offset);
      const hash = resumable?.hash ?? (await hashOf(path, offset));
      const end = (): void => {
        if (this.current.get(key) === turn) this.current.delete(key);
      };
      return {
        path,
        file,
        hash,
        isCurrent: () => this.current.get(key) === turn,
        leave: (size) => {
          if (this.current.get(key) === turn && this.left.size < MOST_STATES)
            this.left.set(key, { path, hash, size });
          end();
        },
        end,
      };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Creates a new file with the first `offset` bytes of a stored one, and deletes the stored files. */
  private async begin(key: string, offset: number): Promise<string> {
    const path = join(this.folder, `${prefixOf(key)}${randomText()}`);
    const files = await this.files(key);
    const source = files.find(({ size }) => size >= offset);
    if (offset > 0 && !source) throw notHere(Math.max(0, ...files.map(({ size }) => size)), offset);
    if (offset > 0 && source) await copyFile(source.path, path, constants.COPYFILE_FICLONE);
    else await (await open(path, 'wx', 0o600)).close();
    for (const file of files) await rm(file.path, { force: true });
    return path;
  }

  private async files(key: string): Promise<{ path: string; size: number }[]> {
    const names = (await readdir(this.folder)).filter((name) => name.startsWith(prefixOf(key)));
    const paths = names.map((name) => join(this.folder, name));
    return Promise.all(
      paths.map(async (path) => ({ path, size: (await stat(path).catch(() => null))?.size ?? 0 })),
    );
  }
}

const prefixOf = (key: string): string => `partial-${sha256(key)}-`;

const notHere = (size: number, offset: number): DomainError =>
  new DomainError(
    'invalid_value',
    `cannot resume at byte ${offset}: only ${size} bytes were received`,
  );

async function hashOf(path: string, bytes: number): Promise<Hash> {
  const hash = createHash('sha256');
  if (bytes === 0) return hash;
  for await (const chunk of createReadStream(path, { end: bytes - 1, highWaterMark: 1 << 20 }))
    hash.update(chunk as Buffer);
  return hash;
}
