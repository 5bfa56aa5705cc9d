import { DomainError } from '@graft/contracts';
import type { BaseRef, BlobRef } from '@graft/contracts/grpc';
import { residentBytes } from '../catalog/plugins.js';
import type { Model, StoredFile } from '../database/entities/storage.js';
import { nameOrPath } from './imports/sources.js';

/** Reference to a base for a worker, with its memory in this precision. */
export function baseRef(
  base: Pick<Model, 'id' | 'source' | 'files' | 'config'>,
  precision: Parameters<typeof residentBytes>[1],
): BaseRef {
  const bytes = base.config === null ? undefined : bytesOf(base.config, precision);
  return {
    id: base.id,
    files: blobRefs(base.files),
    nameOrPath: nameOrPath(base),
    ...(bytes === undefined ? {} : { residentBytes: bytes }),
  };
}

export const blobRefs = (files: readonly StoredFile[]): BlobRef[] =>
  files.map(({ name, sha256, size }) => ({ name, sha256, size }));

/** Undefined if this build cannot compute it. The worker then determines it, or reports the error. */
function bytesOf(...args: Parameters<typeof residentBytes>): number | undefined {
  try {
    return residentBytes(...args);
  } catch (error) {
    if (error instanceof DomainError) return undefined;
    throw error;
  }
}
