// Folders that a trainer writes to. The trainer may change them at any moment, and the agent may be root. Folders are
// therefore opened one by one without following links, and their entries are accessed through the open folder (like
// Linux's openat).
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, rename, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { DomainError } from '@graft/contracts';

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Flags to open a file that a trainer wrote, without following links or blocking on pipes. */
export const READ_WRITTEN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const TRIES = 4;
/** Maximum number of folders to remove, so that a trainer that keeps creating them cannot block the agent. */
const MAX_FOLDERS = 100_000;
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}$/;

export const isPlainName = (name: string): boolean => PLAIN_NAME.test(name);

export class WrittenFolder {
  private constructor(
    private readonly handle: FileHandle,
    private readonly path: string,
  ) {}

  /**
   * @param workDir folder whose parent trainers cannot change
   * @throws DomainError io_error if either is missing or not a folder
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

  /** @throws DomainError io_error if the name is not a plain file name */
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

/** Removes the entry `name` of `workDir`, regardless of its type. */
export function removeInside(workDir: string, name: string): Promise<void> {
  return inside(workDir, (path) => removeWritten(`${path}/${name}`));
}

/**
 * Removes a folder with its contents, without following links; a missing folder is not an error. Retries for a moment,
 * because a trainer that was just killed may still write.
 * @param path folder whose parent trainers cannot change
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
    if (folder.code !== 'ENOTDIR' && folder.code !== 'ELOOP') return unlessMissing(folder);
    return unlink(path).catch(unlessMissing);
  }
  try {
    await empty(pathOf(folder, path));
  } finally {
    await folder.close();
  }
  await rmdir(path).catch(unlessMissing);
}

/**
 * Empties a folder. Nested folders are moved up to it one level at a time, so that paths stay short and two
 * handles suffice at any depth. Names are bytes, since those of a trainer do not need to be UTF-8.
 */
async function empty(root: string): Promise<void> {
  const folders = await unlinkAll(root);
  for (let seen = 0; folders.length > 0; seen++) {
    if (seen === MAX_FOLDERS) throw new Error(`a trainer left more than ${seen} folders`);
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

/** Unlinks all entries that are not folders. Returns the folders. */
async function unlinkAll(folder: string | Buffer): Promise<Buffer[]> {
  const folders: Buffer[] = [];
  for (const name of await readdir(folder, { encoding: 'buffer' })) {
    const path = entryOf(folder, name);
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      // Linux and macOS report different codes for a folder.
      if (error.code === 'EISDIR' || error.code === 'EPERM') folders.push(path);
      else unlessMissing(error);
    });
  }
  return folders;
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

/** Returns a path through an open folder. Only Linux runs trainers as another user, which this protects against. */
const pathOf = <P>({ fd }: FileHandle, path: P): string | P =>
  process.platform === 'linux' ? `/proc/self/fd/${fd}` : path;

function unlessMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
