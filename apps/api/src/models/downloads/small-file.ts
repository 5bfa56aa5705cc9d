import { DomainError } from '@graft/contracts';
import type { BlobStore } from '../../blobs/blob-store.js';
import type { StoredFile } from '../../database/entities/storage.js';

/** Maximum size of a file that is read whole into memory. Those that Graft's workers write have kilobytes. */
export const MOST_SMALL_BYTES = 4 * 1024 * 1024;

/**
 * Reads the text of a model's file. A worker wrote it, so it may have any size.
 * @throws DomainError `invalid_model` if it is larger than MOST_SMALL_BYTES
 */
export async function smallText(
  blobs: BlobStore,
  { name, sha256, size }: StoredFile,
  parameter: string,
): Promise<string> {
  if (size > MOST_SMALL_BYTES)
    throw new DomainError(
      'invalid_model',
      `the model's ${name} has ${size} bytes; the limit is ${MOST_SMALL_BYTES}. Use another model`,
      parameter,
    );
  const chunks: Buffer[] = [];
  for await (const chunk of blobs.read(sha256)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
