// Writes a file atomically: it is written to a temporary file, synced and renamed, and the folder is synced.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes the bytes that `chunks` yields. If writing or syncing fails, throws and leaves the old file. */
export function writeWhole(path: string, chunks: Iterable<Uint8Array>): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    const file = openSync(temporary, 'w');
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length;)
          done += writeSync(file, chunk, done, chunk.length - done);
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}

export function writeWholeText(path: string, text: string): void {
  writeWhole(path, [Buffer.from(text, 'utf8')]);
}

/** Makes a rename in a folder survive a power failure. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
