import type { Readable } from 'node:stream';
import type { Settings } from '../config.js';
import { FolderBackend } from './folder-backend.js';

export interface StoredBlob {
  readonly sha256: string;
  readonly size: number;
}

/** Where the bytes of blobs lie. Callers have checked the names, and hold the lock of a blob's name where they change it. */
export interface BlobBackend {
  /** For people. */
  readonly place: string;
  /** A folder of this machine in which what arrives is written first. */
  readonly incoming: string;
  /** Makes what it needs to begin. */
  open(): Promise<void>;
  /** What its marker says, which tells one installation's place from another's; null if there is none. */
  marker(): Promise<string | null>;
  mark(text: string): Promise<void>;
  /** The part of storing that takes long, before the lock; the file stays. */
  stage(path: string, blob: StoredBlob): Promise<void>;
  /** Makes the file's content the blob of that name. May run again, after the file has gone. */
  commit(path: string, blob: StoredBlob): Promise<void>;
  /** In bytes; null if there is no such blob. */
  size(sha256: string): Promise<number | null>;
  read(sha256: string, offset: number): Readable;
  /** The blob as a file of this machine, for readers that begin soon. */
  file(blob: StoredBlob): Promise<string>;
  /** Where whoever knows it may read the blob for a while; null where only the control plane can. */
  url(sha256: string): Promise<string | null>;
  /** A blob that is not there is no error. */
  remove(sha256: string): Promise<void>;
  /** Removes what was begun and left longer than `leftMs` ago. */
  sweep(leftMs: number): Promise<void>;
}

/** The S3 client is loaded by those who use it. */
export async function blobBackend(settings: Settings): Promise<BlobBackend> {
  if (settings.blobsUrl === null) return new FolderBackend(settings.blobsDir);
  const { S3Backend } = await import('./s3-backend.js');
  return S3Backend.of(settings);
}
