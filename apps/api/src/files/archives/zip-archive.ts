import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { getFileNameLowLevel, openPromise, type Entry, type ZipFile } from 'yauzl';
import type { Archive, ArchiveEntry } from './archive-entries.js';

// File types in Unix modes, which are in the upper half of the external attributes.
const [KIND, REGULAR, FOLDER, LINK] = [0o170000, 0o100000, 0o040000, 0o120000];
const [STORED, DEFLATED] = [0, 8];

/** Opens a zip. The library's check of names is disabled, because the caller reports all invalid names. */
export async function openZip(path: string): Promise<Archive> {
  const zip = await openPromise(path, { autoClose: false, decodeStrings: false });
  return {
    async *entries() {
      for await (const entry of zip.eachEntry()) yield fileOf(zip, entry);
    },
    close: () => zip.close(),
  };
}

function fileOf(zip: ZipFile, entry: Entry): ArchiveEntry {
  const { generalPurposeBitFlag: flags, fileNameRaw, extraFields, uncompressedSize: size } = entry;
  const name = getFileNameLowLevel(flags, fileNameRaw, extraFields, false);
  return {
    name,
    isFolder: name.endsWith('/'),
    size,
    problem: refusal(entry),
    async read() {
      const content = await buffer(await zip.openReadStreamPromise(entry));
      if (content.length !== size) throw new Error('it is truncated');
      if (crc32(content) !== entry.crc32) throw new Error('its checksum is wrong');
      return content;
    },
  };
}

function refusal(entry: Entry): string | null {
  if (entry.isEncrypted()) return 'it is encrypted';
  const kind = (entry.externalFileAttributes >>> 16) & KIND;
  if (kind === LINK) return 'it is a link';
  if (kind !== 0 && kind !== REGULAR && kind !== FOLDER) return 'it is not a regular file';
  const { compressionMethod: method } = entry;
  return method === STORED || method === DEFLATED
    ? null
    : `it is compressed with method ${method}; expected deflate, which is the default of most programs`;
}
