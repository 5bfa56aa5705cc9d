// Folders that a trainer writes in. It may change them at any moment, and the agent may be root: each is opened
// step by step without following a link, and what is inside is named through the open folder (Linux's openat).
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, rename, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { DomainError } from '@graft/contracts';

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** How to open a file that a trainer wrote: no link of its making is followed, no pipe of its waited for. */
export const READ_WRITTEN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const TRIES = 4;
/** More than any run of ours has; a trainer that goes on making them must not keep us here. */
const MOST_FOLDERS = 100_000;
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}$/;

export const isPlainName = (name: string): boolean => PLAIN_NAME.test(name);

export class WrittenFolder {
  private constructor(
    private readonly handle: FileHandle,
    private readonly path: string,
  ) {}

  /**
   * @param workDir in a folder that trainers cannot change
   * @throws DomainError io_error if either is no folder but a link, or not there
   */
  static async open(workDir: string, name: string): Promise<WrittenFolder> {
    try {
      return await inside(workDir, async (parent) => {
        const path = `${parent}/${name}`;
        const handle = await open(path, FOLDER);
        return new WrittenFolder(handle, pathOf(handle, path));
      });
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException;
      throw new DomainError('io_error', `the trainer left no folder ${name}: ${code}`);
    }
  }

  /** @throws DomainError io_error if it is no plain name */
  file(name: string): string {
    if (!isPlainName(name))
      throw new DomainError(
        'io_error',
        `the trainer wrote ${JSON.stringify(name.slice(0, 80))}, which is not a plain file name`,
      );
    return `${this.path}/${name}`;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** Removes `name` in `workDir`, whatever it has become. */
export function removeInside(workDir: string, name: string): Promise<void> {
  return inside(workDir, (path) => removeWritten(`${path}/${name}`));
}

/**
 * Removes a folder with all that is in it; a link is removed, not followed. None: nothing to do. Tries again for a
 * moment, as a trainer that was just killed may still write.
 * @param path in a folder that trainers cannot change
 */
export async function removeWritten(path: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await removeNow(path);
    } catch (error) {
      if (tries === TRIES) throw error;
      await setTimeout(100 * tries);
    }
  }
}

async function removeNow(path: string): Promise<void> {
  const folder = await open(path, FOLDER).catch((error: NodeJS.ErrnoException) => error);
  if (folder instanceof Error) {
    if (folder.code !== 'ENOTDIR' && folder.code !== 'ELOOP') return unlessGone(folder);
    return unlink(path).catch(unlessGone);
  }
  try {
    await empty(pathOf(folder, path));
  } finally {
    await folder.close();
  }
  await rmdir(path).catch(unlessGone);
}

/**
 * Each folder in it is emptied by moving the folders in that one up here: paths stay short and two handles are
 * enough, however deep a trainer went. Names are bytes: those of a trainer need not be UTF-8.
 */
async function empty(root: string): Promise<void> {
  const folders = await unlinkAll(root);
  for (let seen = 0; folders.length > 0; seen++) {
    if (seen === MOST_FOLDERS) throw new Error(`a trainer left more than ${seen} folders`);
    const path = folders.pop() as Buffer;
    const folder = await open(path, FOLDER);
    try {
      for (const deeper of await unlinkAll(pathOf(folder, path))) {
        const up = entryOf(root, Buffer.from(`removed-${randomUUID()}`));
        await rename(deeper, up);
        folders.push(up);
      }
    } finally {
      await folder.close();
    }
    await rmdir(path);
  }
}

/** Returns what it could not unlink: folders. */
async function unlinkAll(folder: string | Buffer): Promise<Buffer[]> {
  const left: Buffer[] = [];
  for (const name of await readdir(folder, { encoding: 'buffer' })) {
    const path = entryOf(folder, name);
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      // Linux and macOS name it differently.
      if (error.code === 'EISDIR' || error.code === 'EPERM') left.push(path);
      else unlessGone(error);
    });
  }
  return left;
}

const entryOf = (folder: string | Buffer, name: Buffer): Buffer =>
  Buffer.concat([Buffer.from(folder), Buffer.from('/'), name]);

async function inside<T>(path: string, act: (path: string) => Promise<T>): Promise<T> {
  const folder = await open(path, FOLDER);
  try {
    return await act(pathOf(folder, path));
  } finally {
    await folder.close();
  }
}

/** Elsewhere trainers cannot be another user, against whom this would guard. */
const pathOf = <P>({ fd }: FileHandle, path: P): string | P =>
  process.platform === 'linux' ? `/proc/self/fd/${fd}` : path;

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
