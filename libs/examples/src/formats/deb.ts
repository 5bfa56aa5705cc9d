import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import xz from 'xz-decompress';
import { readTar, type TarEntry } from './tar.js';

const MAGIC = '!<arch>\n';
const HEADER = 60;
const DATA = 'data.tar.xz';

/**
 * Reads the regular files of a Debian package whose data are compressed with xz, as in Debian's archive.
 * @throws Error if it is not such a package
 */
export async function readDeb(deb: Buffer): Promise<Generator<TarEntry>> {
  const data = memberOf(deb, DATA);
  const packed = Readable.toWeb(Readable.from([data])) as ReadableStream<Uint8Array>;
  return readTar(await buffer(new xz.XzReadableStream(packed)));
}

/** Finds a member of the `ar` archive that a Debian package is. */
function memberOf(archive: Buffer, member: string): Buffer {
  if (archive.toString('latin1', 0, MAGIC.length) !== MAGIC)
    throw new Error('not a Debian package');
  for (let at = MAGIC.length; at + HEADER <= archive.length;) {
    const header = archive.toString('latin1', at, at + HEADER);
    const name = header.slice(0, 16).trim().replace(/\/$/, '');
    const size = Number(header.slice(48, 58).trim());
    const data = archive.subarray(at + HEADER, at + HEADER + size);
    if (!Number.isInteger(size) || data.length !== size)
      throw new Error('the Debian package is truncated');
    if (name === member) return data;
    at += HEADER + size + (size % 2);
  }
  throw new Error(`the Debian package has no ${member}`);
}
