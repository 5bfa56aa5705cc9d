import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { extract, type Header } from 'tar-stream';
import type { Archive, ArchiveEntry } from './archive-entries.js';

/** Types of regular files in tar. */
const FILES = ['file', 'contiguous-file'];
const UNSUPPORTED_TYPES: Readonly<Record<string, string>> = {
  link: 'it is a link',
  symlink: 'it is a link',
  'character-device': 'it is a device',
  'block-device': 'it is a device',
  fifo: 'it is a pipe',
};

const HEADER_BYTES = 512;

/** Opens a tar. It is read once for the headers; contents are then read at their offsets, in any order. */
export async function openTar(path: string): Promise<Archive> {
  const file = await open(path, 'r');
  return {
    async *entries() {
      const archive = extract();
      // An error of either stream ends both and the loop.
      pipeline(createReadStream(path), archive, () => undefined);
      for await (const entry of archive) {
        yield fileOf(file, entry.header, entry.offset + HEADER_BYTES);
        entry.resume();
      }
    },
    close: () => file.close(),
  };
}

function fileOf(file: FileHandle, { name, type, size }: Header, offset: number): ArchiveEntry {
  const isFolder = type === 'directory';
  const isFile = isFolder || FILES.includes(type);
  return {
    name,
    isFolder,
    size: isFolder ? 0 : size,
    problem: isFile ? null : (UNSUPPORTED_TYPES[type] ?? 'it is not a regular file'),
    async read() {
      const content = Buffer.alloc(size);
      const { bytesRead } = await file.read(content, 0, size, offset);
      if (bytesRead !== size) throw new Error('it is truncated');
      return content;
    },
  };
}
