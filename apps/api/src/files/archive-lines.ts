import { isNamedMedia } from '@graft/contracts';
import { openZip } from './zip-archive.js';
import { confined } from './confined-process.js';
import { isMetadata } from './metadata-rows.js';
import { unreadable } from './rows.js';
import { ARCHIVE_PROCESS } from '../scripts.js';

/** Every picture and sound is decoded: a hundred thousand of them take minutes. */
const DEADLINE_MS = 30 * 60_000;
const MOST_LOOKED_AT = 10_000;

/** What an archive was, and what people should know of it. */
export interface ArchiveRemarks {
  readonly layout: string;
  readonly notes: readonly string[];
}

/**
 * An archive of pictures or sounds as JSON Lines of records, read in a process of its own that a hostile one ends alone.
 * What it was is there once all have passed.
 */
export class ArchiveLines {
  remarks: ArchiveRemarks | null = null;

  constructor(
    private readonly container: 'tar' | 'zip',
    private readonly path: string,
    private readonly owner: string,
    private readonly gone: AbortSignal,
  ) {}

  read(): AsyncGenerator<Buffer> {
    return confined({
      owner: this.owner,
      script: ARCHIVE_PROCESS,
      arguments: [this.container],
      path: this.path,
      gone: this.gone,
      deadlineMs: DEADLINE_MS,
      failure: (reason) => unreadable(`the archive cannot be used: ${reason}`),
      remarks: (said) => (this.remarks = JSON.parse(said) as ArchiveRemarks),
    });
  }
}

/** Whether a zip is one of pictures or sounds, told by the first file that shows what it is. */
export async function holdsMedia(path: string): Promise<boolean> {
  const zip = await openZip(path).catch(() => null);
  if (zip === null) return false;
  try {
    let looked = 0;
    for await (const { name } of zip.entries()) {
      if (isNamedMedia(name) || isMetadata(name)) return true;
      if (/(^|\/)(state|dataset_dict)\.json$/.test(name) || ++looked > MOST_LOOKED_AT) return false;
    }
  } catch {
    // whoever reads it says what is wrong with it
  } finally {
    await zip.close();
  }
  return false;
}
