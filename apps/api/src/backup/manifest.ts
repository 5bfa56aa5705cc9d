import { createReadStream } from 'node:fs';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DomainError } from '@graft/contracts';
import type { StoredBlob } from '../blobs/blob-backend.js';
import { syncedFile } from './synced-file.js';

/** Version of this layout. Readers reject others. */
const FORMAT = 1;
const MANIFEST = 'manifest.json';
const BLOBS = 'blobs.txt';

/** File of the database copy. Its path is relative to the snapshot's folder. */
export interface CopiedFile extends StoredBlob {
  readonly path: string;
}

/**
 * Contents of a snapshot. A backup folder has `blobs/<first two>/<sha256>`, shared by all of its snapshots, and a
 * folder for each snapshot, named by its time. That folder holds this manifest, the list of the blobs that the
 * database references, and the database: `database.dump` of pg_dump, or `postgres`, the files of the embedded server.
 */
export interface Manifest {
  readonly format: number;
  /** Time in ISO 8601. */
  readonly created_at: string;
  /** Name of the database's last migration. */
  readonly migration: string;
  readonly database: 'dump' | 'embedded';
  readonly files: readonly CopiedFile[];
  /**
   * Content of the marker that identifies the installation of the blobs; null if the installation has never started.
   */
  readonly blob_marker: string | null;
  readonly blobs: { readonly count: number; readonly bytes: number; readonly sha256: string };
}

/** Writes the list of blobs, then the manifest, which makes the snapshot complete. */
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

/** Returns the names of the complete snapshots in a backup folder, oldest first. */
export async function snapshotsIn(backup: string): Promise<string[]> {
  const names = await readdir(backup).catch(() => []);
  return names.filter((name) => /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?Z$/.test(name)).toSorted();
}

/**
 * Finds a snapshot by name; the default is the newest.
 * @throws DomainError if the folder contains no complete snapshot, or none with that name
 */
export async function findSnapshot(backup: string, name?: string): Promise<string> {
  const names = await snapshotsIn(backup);
  const found = name === undefined ? names.at(-1) : names.find((one) => one === name);
  if (found !== undefined) return found;
  const known = names.length > 0 ? `; it contains ${names.join(', ')}` : '';
  throw new DomainError(
    'not_found',
    `${backup} contains no ${name === undefined ? 'complete backup' : `backup named ${name}`}${known}`,
  );
}

/**
 * Reads a manifest.
 * @throws DomainError if it cannot be read or has another format
 */
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
      `${path}: expected format ${FORMAT}, got ${manifest.format}; use the build that made the backup`,
    );
  return manifest;
}

/**
 * Yields the blobs of a snapshot, sorted by name.
 * @throws DomainError that names a malformed line
 */
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
      throw new DomainError(
        'invalid_value',
        `${path}, line ${number}: expected a sha256 and a size`,
      );
    yield { sha256, size: Number(size) };
  }
}

export const blobListOf = (folder: string): string => join(folder, BLOBS);

/** Returns the path of a blob in a backup folder. */
export const blobPath = (backup: string, sha256: string): string =>
  join(backup, 'blobs', sha256.slice(0, 2), sha256);
