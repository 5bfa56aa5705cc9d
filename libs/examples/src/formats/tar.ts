import { gunzipSync } from 'node:zlib';

export interface TarEntry {
  readonly name: string;
  readonly data: Buffer;
}

const BLOCK = 512;

/**
 * Yields the regular files of a gzipped tar archive in memory (ustar, with pax and GNU long names).
 * @throws Error if the archive is truncated
 */
export const readTarGz = (archive: Buffer): Generator<TarEntry> => readTar(gunzipSync(archive));

/** Yields the regular files of an uncompressed tar archive. @throws Error if the archive is truncated */
export function* readTar(tar: Buffer): Generator<TarEntry> {
  let longName: string | null = null;
  for (let at = 0; at + BLOCK <= tar.length;) {
    const header = tar.subarray(at, at + BLOCK);
    if (header[0] === 0) return;
    const size = parseInt(text(header, 124, 12).trim() || '0', 8);
    const data = tar.subarray(at + BLOCK, at + BLOCK + size);
    if (!Number.isInteger(size) || data.length !== size)
      throw new Error('the archive is truncated');
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === 'x')
      longName = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(data.toString('utf8'))?.[1] ?? longName;
    else if (type === 'L') longName = text(data, 0, data.length);
    else {
      const prefix = text(header, 345, 155);
      const name =
        longName ?? (prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`);
      longName = null;
      if (type === '0' || type === '\0') yield { name, data };
    }
  }
}

function text(bytes: Buffer, from: number, length: number): string {
  const field = bytes.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString('utf8');
}
