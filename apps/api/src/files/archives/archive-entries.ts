/** A file in an archive, of whatever kind that is. */
export interface ArchiveEntry {
  /** With / between folders. */
  readonly name: string;
  readonly isFolder: boolean;
  /** Unpacked, as the archive claims. */
  readonly size: number;
  /** Why it is not to be read (a link, encrypted, …), or null. */
  readonly refused: string | null;
  /** All of it. @throws Error where it is not what the archive says */
  read(): Promise<Buffer>;
}

/** An archive on disk. */
export interface Archive {
  /** In the order of the archive. @throws Error where its directory is damaged */
  entries(): AsyncIterable<ArchiveEntry>;
  close(): Promise<void> | void;
}
