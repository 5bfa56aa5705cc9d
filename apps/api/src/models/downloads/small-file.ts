import { DomainError } from '@graft/contracts';
import type { BlobStore } from '../../blobs/blob-store.js';
import type { StoredFile } from '../../database/entities/storage.js';

/** A file that is read whole into memory is not larger. Those that Graft's workers write are kilobytes. */
export const MOST_SMALL_BYTES = 4 * 1024 * 1024;

/**
 * The text of a model's file, which a worker wrote, of whatever size.
 * @throws DomainError `invalid_model` where it is larger than MOST_SMALL_BYTES
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
