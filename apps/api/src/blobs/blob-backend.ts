import type { Readable } from 'node:stream';

export interface StoredBlob {
  readonly sha256: string;
  readonly size: number;
}

/**
 * Storage for the bytes of blobs. Callers have checked the names and, for changes, hold the lock of the blob's name.
 */
export interface BlobBackend {
  /** Human-readable location. */
  readonly place: string;
  /** Local folder for incoming data, before it is stored. */
  readonly incoming: string;
  /** Creates what the backend needs, such as its folders. */
  open(): Promise<void>;
  /** Reads the marker, which identifies the installation that the blobs belong to; null if there is none. */
  marker(): Promise<string | null>;
  mark(text: string): Promise<void>;
  /** Performs the slow part of storing a blob, before the lock is taken. The file at `path` is kept. */
  stage(path: string, blob: StoredBlob): Promise<void>;
  /** Stores the file at `path` as the blob. It may be called again after it has moved the file. */
  commit(path: string, blob: StoredBlob): Promise<void>;
  /** Returns the size in bytes, or null if there is no such blob. */
  size(sha256: string): Promise<number | null>;
  read(sha256: string, offset: number): Readable;
  /** Returns the path of a local file with the blob, for readers that open it soon. */
  file(blob: StoredBlob): Promise<string>;
  /**
   * Returns a temporary URL that allows anyone who knows it to read the blob; null if only the control plane can read
   * it.
   */
  url(sha256: string): Promise<string | null>;
  /** Deletes a blob. A missing blob is not an error. */
  remove(sha256: string): Promise<void>;
  /** Removes data of interrupted operations that is older than `leftMs`. */
  sweep(leftMs: number): Promise<void>;
}
