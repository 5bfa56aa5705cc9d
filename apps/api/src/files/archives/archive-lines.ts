import { confined } from '../../sandbox/confined-process.js';
import { unreadable } from '../rows/rows.js';
import { ARCHIVE_PROCESS } from '../../scripts.js';

/** Every picture and sound is decoded: a hundred thousand of them take minutes. */
const DEADLINE_MS = 30 * 60_000;

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
