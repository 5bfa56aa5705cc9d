import { confined } from '../../sandbox/confined-process.js';
import { unreadable } from '../rows/rows.js';
import { ARCHIVE_PROCESS } from '../../scripts.js';

/** Every image and audio file is decoded; a hundred thousand of them take minutes. */
const DEADLINE_MS = 30 * 60_000;

/** Layout of an archive, and notes for the user. */
export interface ArchiveRemarks {
  readonly layout: string;
  readonly notes: readonly string[];
}

/**
 * Converts an archive of images or audio to JSON Lines of records. It is read in a separate process, so that a
 * malicious archive can only end that process. The remarks are available after the last record.
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
      remarks: (json) => (this.remarks = JSON.parse(json) as ArchiveRemarks),
    });
  }
}
