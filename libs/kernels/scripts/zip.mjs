// Reads zip files without an external tool: stored and deflated entries, and zip64, as wheels need.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';

const END = 0x06054b50;
const END64 = 0x06064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;

/** Opens a zip: `entries` (name, size, …), `read(entry)` as a Buffer, `close()`. */
export function openZip(path) {
  const fd = openSync(path, 'r');
  const at = (position, length) => {
    const bytes = Buffer.alloc(length);
    if (readSync(fd, bytes, 0, length, position) !== length)
      throw new Error(`${path} is truncated`);
    return bytes;
  };
  try {
    const entries = readDirectory(at, fstatSync(fd).size, path);
    return {
      entries,
      read(entry) {
        const header = at(entry.offset, 30);
        if (header.readUInt32LE(0) !== LOCAL)
          throw new Error(`${path}: ${entry.name} has no local header`);
        const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
        const packed = at(start, entry.packedSize);
        if (entry.method === 0) return packed;
        if (entry.method === 8)
          return inflateRawSync(packed, { maxOutputLength: Math.max(entry.size, 1) });
        throw new Error(
          `${path}: ${entry.name} uses an unknown compression method (${entry.method})`,
        );
      },
      close: () => closeSync(fd),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function readDirectory(at, fileSize, path) {
  const tail = at(Math.max(0, fileSize - 65557), Math.min(fileSize, 65557));
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== END) end--;
  if (end < 0) throw new Error(`${path} is not a zip file`);
  let count = tail.readUInt16LE(end + 10);
  let size = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  if (offset === 0xffffffff || count === 0xffff) {
    const record = at(Number(tail.readBigUInt64LE(end - 20 + 8)), 56);
    if (record.readUInt32LE(0) !== END64) throw new Error(`${path}: broken zip64 record`);
    count = Number(record.readBigUInt64LE(32));
    size = Number(record.readBigUInt64LE(40));
    offset = Number(record.readBigUInt64LE(48));
  }
  const directory = at(offset, size);
  const entries = [];
  for (let p = 0; entries.length < count;) {
    if (directory.readUInt32LE(p) !== ENTRY) throw new Error(`${path}: broken zip directory`);
    const nameLength = directory.readUInt16LE(p + 28);
    const extraLength = directory.readUInt16LE(p + 30);
    const entry = {
      name: directory.toString('utf8', p + 46, p + 46 + nameLength),
      method: directory.readUInt16LE(p + 10),
      packedSize: directory.readUInt32LE(p + 20),
      size: directory.readUInt32LE(p + 24),
      offset: directory.readUInt32LE(p + 42),
    };
    widen(entry, directory.subarray(p + 46 + nameLength, p + 46 + nameLength + extraLength));
    entries.push(entry);
    p += 46 + nameLength + extraLength + directory.readUInt16LE(p + 32);
  }
  return entries;
}

// zip64: sizes that do not fit into 32 bits are in an extra field, in this order
function widen(entry, extra) {
  for (let p = 0; p + 4 <= extra.length; p += 4 + extra.readUInt16LE(p + 2)) {
    if (extra.readUInt16LE(p) !== 1) continue;
    let q = p + 4;
    for (const key of ['size', 'packedSize', 'offset']) {
      if (entry[key] !== 0xffffffff) continue;
      entry[key] = Number(extra.readBigUInt64LE(q));
      q += 8;
    }
  }
}
