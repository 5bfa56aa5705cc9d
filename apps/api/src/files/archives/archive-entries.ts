/** File in an archive of any format. */
export interface ArchiveEntry {
  /** Path with `/` as the separator. */
  readonly name: string;
  readonly isFolder: boolean;
  /** Unpacked size in bytes, as stated by the archive. */
  readonly size: number;
  /** Reason why it cannot be read (such as a link or encryption), or null. */
  readonly problem: string | null;
  /**
   * Reads the whole file.
   * @throws Error if the content does not match the archive's directory
   */
  read(): Promise<Buffer>;
}

/** Archive on disk. */
export interface Archive {
  /**
   * Yields the entries in the order of the archive.
   * @throws Error if the archive's directory is damaged
   */
  entries(): AsyncIterable<ArchiveEntry>;
  close(): Promise<void> | void;
}
