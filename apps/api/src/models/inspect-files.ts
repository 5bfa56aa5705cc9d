import { DomainError } from '@graft/contracts';
import { link, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStore } from '../blobs/blob-store.js';
import { inspectModelFolder } from '../catalog/plugins.js';
import type { StoredFile } from '../database/entities/storage.js';
import { randomText } from '../ids.js';

/**
 * Lets peft-core look at the files as a folder: names in a scratch folder that link to the blobs.
 * @throws DomainError for what cannot be used
 */
export async function inspectFiles(
  blobs: BlobStore,
  files: readonly StoredFile[],
): Promise<ReturnType<typeof inspectModelFolder>> {
  const folder = join(blobs.scratch, `inspect-${randomText()}`);
  await mkdir(folder, { recursive: true });
  try {
    for (const file of files) await link(await blobs.file(file), join(folder, file.name));
    const found = inspectModelFolder(folder);
    if (found.problems.length > 0)
      throw new DomainError('invalid_model', found.problems.join('; '));
    return found;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
