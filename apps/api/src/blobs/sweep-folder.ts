import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Removes entries of a folder that were last written to more than `leftMs` ago. */
export async function sweepFolder(folder: string, leftMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const entry = await stat(path).catch(() => null);
    if (entry && Date.now() - entry.mtimeMs > leftMs)
      await rm(path, { recursive: true, force: true });
  }
}
