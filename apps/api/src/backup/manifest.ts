import { createReadStream } from 'node:fs';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DomainError } from '@graft/contracts';
import type { StoredBlob } from '../blobs/blob-backend.js';
import { syncedFile } from './synced-file.js';

/** Of this layout; a reader refuses others. */
const FORMAT = 1;
const MANIFEST = 'manifest.json';
const BLOBS = 'blobs.txt';

/** A file of the copy of the database, relative to the snapshot's folder. */
export interface CopiedFile extends StoredBlob {
  readonly path: string;
}

/**
 * What a snapshot holds. A backup folder has `blobs/<first two>/<sha256>`, which all of its snapshots share, and a folder
 * for each snapshot, named by its time, with this manifest, the list of blobs that its database names, and the database:
 * `database.dump` of pg_dump, or `postgres`, the files of the embedded server.
 */
export interface Manifest {
  readonly format: number;
  /** ISO 8601. */
  readonly created_at: string;
  /** The last migration of the database. */
  readonly migration: string;
  readonly database: 'dump' | 'embedded';
  readonly files: readonly CopiedFile[];
  /** What the place of the blobs says of whose they are; null for an installation that has not started yet. */
  readonly blob_marker: string | null;
  readonly blobs: { readonly count: number; readonly bytes: number; readonly sha256: string };
}

/** Writes the list of blobs and then the manifest, which makes the snapshot complete. */
export async function writeManifest(
  folder: string,
  manifest: Omit<Manifest, 'format' | 'blobs'>,
  blobs: readonly StoredBlob[],
): Promise<Manifest> {
  const text = blobs.map(({ sha256, size }) => `${sha256} ${size}\n`).join('');
  const { sha256 } = await syncedFile(join(folder, BLOBS), [Buffer.from(text)]);
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  const whole: Manifest = {
    format: FORMAT,
    ...manifest,
    blobs: { count: blobs.length, bytes, sha256 },
  };
  const fresh = join(folder, `${MANIFEST}.new`);
  await syncedFile(fresh, [Buffer.from(`${JSON.stringify(whole, null, 2)}\n`)]);
  await rename(fresh, join(folder, MANIFEST));
  return whole;
}

/** Names of the complete snapshots of a backup folder, the oldest first. */
export async function snapshotsIn(backup: string): Promise<string[]> {
  const names = await readdir(backup).catch(() => []);
  return names.filter((name) => /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?Z$/.test(name)).toSorted();
}

/** @throws DomainError where the folder holds no complete snapshot, or none of that name */
export async function findSnapshot(backup: string, name?: string): Promise<string> {
  const names = await snapshotsIn(backup);
  const found = name === undefined ? names.at(-1) : names.find((one) => one === name);
  if (found !== undefined) return found;
  const known = names.length > 0 ? `; it holds ${names.join(', ')}` : '';
  throw new DomainError(
    'not_found',
    `${backup} holds no ${name === undefined ? 'complete backup' : `backup called ${name}`}${known}`,
  );
}

/** @throws DomainError where it cannot be read, or is of another format */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST);
  let manifest: Manifest;
  try {
    manifest = JSON.parse(await readFile(path, 'utf8')) as Manifest;
  } catch (error) {
    throw new DomainError('invalid_value', `${path}: ${(error as Error).message}`);
  }
  if (manifest.format !== FORMAT)
    throw new DomainError(
      'unsupported',
      `${path}: format ${manifest.format} is not known to this build, which reads ${FORMAT}`,
    );
  return manifest;
}

/** The blobs of a snapshot, in the order of their names. @throws DomainError that names a line that is wrong */
export async function* blobsOf(folder: string): AsyncGenerator<StoredBlob> {
  const path = join(folder, BLOBS);
  let number = 0;
  for await (const line of createInterface({
    input: createReadStream(path),
    crlfDelay: Infinity,
  })) {
    number++;
    const [, sha256 = '', size = ''] = /^([0-9a-f]{64}) (\d+)$/.exec(line) ?? [];
    if (sha256 === '')
      throw new DomainError('invalid_value', `${path}, line ${number}: not a hash and a size`);
    yield { sha256, size: Number(size) };
  }
}

export const blobListOf = (folder: string): string => join(folder, BLOBS);

/** Where a blob lies in a backup folder. */
export const blobPath = (backup: string, sha256: string): string =>
  join(backup, 'blobs', sha256.slice(0, 2), sha256);
