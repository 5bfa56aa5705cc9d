// Folders that a trainer writes in. It may change them at any moment, and the agent may be root: each is opened
// step by step without following a link, and what is inside is named through the open folder (Linux's openat).
import { constants } from 'node:fs';
import { open, readdir, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { DomainError } from '@graft/contracts';

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const DEEPEST = 32;
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
        `the trainer wrote ${JSON.stringify(name.slice(0, 80))}, which is no plain file name`,
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
 * Removes a folder with all that is in it; a link is removed, not followed. None: nothing to do.
 * @param path in a folder that trainers cannot change
 */
export async function removeWritten(path: string, depth = 0): Promise<void> {
  if (depth > DEEPEST) throw new Error(`a trainer's folders lie more than ${DEEPEST} deep`);
  const folder = await open(path, FOLDER).catch((error: NodeJS.ErrnoException) => error);
  if (folder instanceof Error) {
    if (folder.code !== 'ENOTDIR' && folder.code !== 'ELOOP') return unlessGone(folder);
    return unlink(path).catch(unlessGone);
  }
  try {
    const inside = pathOf(folder, path);
    for (const entry of await readdir(inside)) await removeWritten(`${inside}/${entry}`, depth + 1);
  } finally {
    await folder.close();
  }
  await rmdir(path).catch(unlessGone);
}

async function inside<T>(path: string, act: (path: string) => Promise<T>): Promise<T> {
  const folder = await open(path, FOLDER);
  try {
    return await act(pathOf(folder, path));
  } finally {
    await folder.close();
  }
}

/** Elsewhere trainers cannot be another user, against whom this would guard. */
const pathOf = ({ fd }: FileHandle, path: string): string =>
  process.platform === 'linux' ? `/proc/self/fd/${fd}` : path;

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
