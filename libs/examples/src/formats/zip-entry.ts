import { createWriteStream } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';

const END = 0x06054b50;
const ENTRY = 0x02014b50;

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly packed: number;
  readonly offset: number;
}

/**
 * Streams the first matching file of a zip archive (without zip64) to `path`.
 * @throws Error if the file is not a zip archive or no name matches
 */
export async function unzipEntry(zip: string, wanted: RegExp, path: string): Promise<void> {
  const handle = await open(zip, 'r');
  try {
    const entry = (await entriesOf(handle)).find(({ name }) => wanted.test(name));
    if (entry === undefined) throw new Error(`${zip} has no file matching ${wanted.source}`);
    const local = await read(handle, entry.offset, 30);
    const start = entry.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
    const packed = handle.createReadStream({
      start,
      end: start + entry.packed - 1,
      autoClose: false,
    });
    const partial = `${path}.part`;
    if (entry.method === 0) await pipeline(packed, createWriteStream(partial));
    else if (entry.method === 8)
      await pipeline(packed, createInflateRaw(), createWriteStream(partial));
    else
      throw new Error(
        `${entry.name} uses compression method ${entry.method}, which is not supported`,
      );
    await rename(partial, path);
  } finally {
    await handle.close();
  }
}

async function entriesOf(handle: FileHandle): Promise<Entry[]> {
  const { size } = await handle.stat();
  const tail = await read(handle, Math.max(0, size - 65_557), Math.min(size, 65_557));
  const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || tail.readUInt32LE(end) !== END) throw new Error('not a zip file');
  const directory = await read(handle, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries: Entry[] = [];
  for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === ENTRY;) {
    const nameLength = directory.readUInt16LE(at + 28);
    entries.push({
      name: directory.toString('utf8', at + 46, at + 46 + nameLength),
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      offset: directory.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

async function read(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, position);
  if (bytesRead !== length) throw new Error('the zip file is truncated');
  return bytes;
}
