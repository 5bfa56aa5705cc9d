// Inspects files in a separate process, which can read only a scratch folder with links to them.
import { link, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BlobStore, Received } from '../../blobs/blob-store.js';
import type { AdapterInspection, HfConfig, ModelInspection } from '../../catalog/plugins.js';
import type { StoredFile } from '../../database/entities/storage.js';
import { confinedAnswer } from '../../sandbox/confined-answer.js';
import type { Confined } from '../../sandbox/confined-process.js';
import { randomText } from '../../ids.js';
import { INSPECT_PROCESS } from '../../scripts.js';
import { BASE_CONFIG, CONFIG, WEIGHTS } from './adapter-files.js';

const MODEL_MS = 5 * 60_000;
const ADAPTER_MS = 60_000;

/** Owner of all inspections of bases. */
const IMPORTS = 'imports';

/** @throws DomainError for a model that cannot be used */
export async function inspectFiles(
  blobs: BlobStore,
  files: readonly StoredFile[],
  gone: AbortSignal,
): Promise<ModelInspection> {
  const found = await inFolder(blobs, async (folder) => {
    for (const file of files) await link(await blobs.file(file), join(folder, file.name));
    return inspect<ModelInspection>('model', {
      owner: IMPORTS,
      path: folder,
      gone,
      deadlineMs: MODEL_MS,
      failure: (reason) =>
        new DomainError('invalid_model', `the model's files cannot be read: ${reason}`),
    });
  });
  if (found.problems.length > 0)
    throw new DomainError('invalid_model', [...new Set(found.problems)].join('; '));
  return found;
}

/** @throws DomainError that says what is wrong with the adapter, or which field does not fit the base */
export function inspectAdapterFiles(
  blobs: BlobStore,
  { config, weights }: { readonly config: Received; readonly weights: Received },
  base: HfConfig,
  { uploader: owner, gone }: { readonly uploader: string; readonly gone: AbortSignal },
): Promise<AdapterInspection> {
  return inFolder(blobs, async (folder) => {
    await link(config.temporary, join(folder, CONFIG));
    await link(weights.temporary, join(folder, WEIGHTS));
    await writeFile(join(folder, BASE_CONFIG), JSON.stringify(base));
    return inspect<AdapterInspection>('adapter', {
      ...{ owner, gone, path: folder, deadlineMs: ADAPTER_MS },
      failure: (reason) =>
        new DomainError('invalid_adapter', `the adapter cannot be read: ${reason}`, 'file'),
    });
  });
}

const inspect = <T>(
  what: 'model' | 'adapter',
  order: Omit<Confined, 'script' | 'arguments'>,
): Promise<T> =>
  confinedAnswer<T>({
    ...order,
    script: INSPECT_PROCESS,
    arguments: [what],
    kind: what === 'model' ? 'import' : 'adapter',
  });

async function inFolder<T>(blobs: BlobStore, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = join(blobs.scratch, `inspect-${randomText()}`);
  await mkdir(folder, { recursive: true });
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
