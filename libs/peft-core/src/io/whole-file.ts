// A file is there whole or not at all: it is written beside its place, synced, renamed, and the folder synced.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes what `chunks` yields. An error of the sync means the file is lost; it is thrown, and the old file stays. */
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

/** Makes a rename in a folder survive a power cut. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
