// What a zip has of an adapter. Runs in a confined process.
import { DomainError } from '@graft/contracts';
import { openPromise } from 'yauzl';
import type { ZipEntry } from '../../files/archives/zip-entries.js';
import { isBeside, plainName, wantedName, type AdapterFile } from './adapter-files.js';

const MOST_ENTRIES = 1000;

export interface AdapterEntry extends ZipEntry {
  readonly name: AdapterFile;
}

/**
 * The files of an adapter, in whatever folder of the archive they lie; others that hold no weights are passed over.
 * @throws DomainError for an archive with anything that could hold code
 */
export async function adapterEntries(path: string): Promise<AdapterEntry[]> {
  const zip = await openPromise(path, { autoClose: false });
  try {
    if (zip.entryCount > MOST_ENTRIES)
      throw new DomainError(
        'invalid_adapter',
        `the zip has more than ${MOST_ENTRIES} files`,
        'file',
      );
    const found: AdapterEntry[] = [];
    let at = -1;
    for await (const { fileName, uncompressedSize: size } of zip.eachEntry()) {
      at++;
      const name = plainName(fileName);
      if (name !== '' && !isBeside(name)) found.push({ name: wantedName(name), at, size });
    }
    return found;
  } finally {
    zip.close();
  }
}
