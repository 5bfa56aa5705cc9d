// Finds the files of an adapter in a zip. Runs in a confined process.
import { DomainError } from '@graft/contracts';
import { openPromise } from 'yauzl';
import type { ZipEntry } from '../../files/archives/zip-entries.js';
import { isIgnored, baseName, wantedName, type AdapterFile } from './adapter-files.js';

const MOST_ENTRIES = 1000;

export interface AdapterEntry extends ZipEntry {
  readonly name: AdapterFile;
}

/**
 * Finds the files of an adapter in any folder of the archive. Other files without weights are ignored.
 * @throws DomainError for an archive that contains anything that could be code
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
      const name = baseName(fileName);
      if (name !== '' && !isIgnored(name)) found.push({ name: wantedName(name), at, size });
    }
    return found;
  } finally {
    zip.close();
  }
}
