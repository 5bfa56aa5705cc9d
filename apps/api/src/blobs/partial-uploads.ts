import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { randomText, sha256 } from '../ids.js';

/** Hash states that are kept; a file whose state is gone is read again. */
const MOST_STATES = 64;

/** A partial file opened to be written on; what is in it is in the hash. */
export interface Resumed {
  readonly path: string;
  readonly file: FileHandle;
  readonly hash: Hash;
  /** False once another took the same upload up in this process: this one need write no more. */
  isCurrent(): boolean;
  /** The file is closed: what has arrived stays for the next try. */
  leave(size: number): void;
  /** The file is gone, or is to go. */
  end(): void;
}

/** What an earlier try in this process has left, and nobody writes any more. */
interface Left {
  readonly path: string;
  readonly hash: Hash;
  readonly size: number;
}

/**
 * Uploads that were cut, each a file under a name made of its key, so that they go on where they stopped, also by way
 * of another process. Nobody writes a file that somebody else may have open, here or there: it becomes a blob, whose
 * bytes nobody may change.
 */
export class PartialUploads {
  private readonly left = new Map<string, Left>();
  private readonly current = new Map<string, object>();

  constructor(private readonly folder: string) {}

  /** Bytes of it that are here. */
  async received(key: string): Promise<number> {
    return Math.max(0, ...(await this.files(key)).map(({ size }) => size));
  }

  /** @throws DomainError when fewer than `offset` bytes are here */
  async resume(key: string, offset: number): Promise<Resumed> {
    const turn = {};
    this.current.set(key, turn);
    const left = this.left.get(key);
    this.left.delete(key);
    const goesOn = left?.size === offset ? left : null;
    const path = goesOn?.path ?? (await this.begin(key, offset));
    const file = await open(path, 'r+');
    try {
      await file.truncate(offset);
      const hash = goesOn?.hash ?? (await hashOf(path, offset));
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

  /** A file of its own, with the bytes up to `offset` of one that is here; those are of no use any more. */
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
  new DomainError('invalid_value', `cannot go on at byte ${offset}: ${size} bytes are here`);

async function hashOf(path: string, bytes: number): Promise<Hash> {
  const hash = createHash('sha256');
  if (bytes === 0) return hash;
  for await (const chunk of createReadStream(path, { end: bytes - 1, highWaterMark: 1 << 20 }))
    hash.update(chunk as Buffer);
  return hash;
}
