import { DomainError } from '@graft/contracts';
import type { BaseRef, BlobRef } from '@graft/contracts/grpc';
import { residentBytes } from '../catalog/plugins.js';
import type { Model, StoredFile } from '../database/entities/storage.js';
import { nameOrPath } from './imports/sources.js';

/** A base as a worker is told of it, for runs and answers in this precision. */
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

/** Undefined where this build cannot tell: the worker then finds out, or says what is wrong. */
function bytesOf(...asked: Parameters<typeof residentBytes>): number | undefined {
  try {
    return residentBytes(...asked);
  } catch (error) {
    if (error instanceof DomainError) return undefined;
    throw error;
  }
}
