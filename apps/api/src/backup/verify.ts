import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { inParallel } from './in-parallel.js';
import {
  blobListOf,
  blobPath,
  blobsOf,
  findSnapshot,
  readManifest,
  type Manifest,
} from './manifest.js';
import { Progress, type Print } from './progress.js';
import { hashOf } from './synced-file.js';
import type { StoredBlob } from '../blobs/blob-backend.js';

const AT_ONCE = 4;

export interface Verified {
  readonly name: string;
  readonly manifest: Manifest;
  readonly blobs: readonly StoredBlob[];
  /** Problems, one sentence for each file. */
  readonly problems: readonly string[];
}

/**
 * Reads every byte of a snapshot and compares it with the hashes recorded by the backup.
 * @param name name of the snapshot; default: the newest
 */
export async function verifyBackup(backup: string, print: Print, name?: string): Promise<Verified> {
  const found = await findSnapshot(backup, name);
  const folder = join(backup, found);
  const manifest = await readManifest(folder);
  const problems: string[] = [];
  const check = async (path: string, wanted: StoredBlob): Promise<void> => {
    const size = (await stat(path).catch(() => null))?.size ?? null;
    if (size === null) problems.push(`${path} is missing`);
    else if (size !== wanted.size)
      problems.push(`${path} is damaged: expected ${wanted.size} bytes, got ${size}`);
    else if ((await hashOf(path)).sha256 !== wanted.sha256)
      problems.push(`${path} is damaged: its sha256 does not match`);
  };
  for (const file of manifest.files) await check(join(folder, file.path), file);
  const list = blobListOf(folder);
  if ((await hashOf(list)).sha256 !== manifest.blobs.sha256) {
    problems.push(`${list} is damaged: its sha256 does not match`);
    return { name: found, manifest, blobs: [], problems };
  }
  const blobs: StoredBlob[] = [];
  for await (const blob of blobsOf(folder)) blobs.push(blob);
  const progress = new Progress('blobs', blobs, print);
  await inParallel(blobs, AT_ONCE, async (blob) => {
    await check(blobPath(backup, blob.sha256), blob);
    progress.done(blob);
  });
  progress.end();
  return { name: found, manifest, blobs, problems };
}
