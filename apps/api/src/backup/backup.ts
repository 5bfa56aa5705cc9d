import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Client } from 'pg';
import type { BlobBackend, StoredBlob } from '../blobs/blob-backend.js';
import { blobBackend } from '../blobs/configured-backend.js';
import { Settings, type ApiConfig } from '../config.js';
import { hasEmbeddedPostgres, startEmbeddedPostgres } from '../database/embedded-postgres.js';
import { copyEmbedded, dumpDatabase } from './database-copy.js';
import { inParallel } from './in-parallel.js';
import { blobPath, writeManifest, type Manifest } from './manifest.js';
import { Progress, type Print } from './progress.js';
import { syncedFile } from './synced-file.js';

const AT_ONCE = 4;
const NAMED_IN_ERRORS = 5;

export interface BackupSummary {
  readonly name: string;
  readonly manifest: Manifest;
  /** Number of blobs that no earlier backup in the folder contained. */
  readonly copied: number;
}

/**
 * Adds a snapshot of an installation to a backup folder, whether its API is running or not. It copies the database
 * first, then the blobs that the database references; a running API keeps their bytes for `GRAFT_BLOB_GRACE_HOURS` if
 * it deletes them meanwhile. Blobs in the folder from an earlier backup are not copied again. A backup that fails
 * leaves no snapshot.
 * @throws DomainError that names the missing or damaged blobs
 */
export async function makeBackup(
  config: ApiConfig,
  backup: string,
  print: Print,
): Promise<BackupSummary> {
  const embedded = config.databaseUrl ? null : await embeddedIn(config.home);
  try {
    const settings = new Settings(config, config.databaseUrl ?? embedded?.url ?? '');
    const now = new Date();
    const name = now.toISOString().replaceAll(':', '-');
    const folder = join(backup, `incomplete-${name}`);
    await mkdir(join(folder, ...(embedded ? ['postgres'] : [])), { recursive: true, mode: 0o700 });
    try {
      const facts = await factsOf(settings.databaseUrl);
      print('copying the database');
      const { files, blobs } = embedded
        ? await copyEmbedded(settings.databaseUrl, join(config.home, 'postgres'), folder)
        : await dumpDatabase(settings.databaseUrl, folder);
      const sorted = blobs.toSorted((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
      const copied = await copyBlobs(await blobBackend(settings), sorted, backup, print);
      const manifest = await writeManifest(
        folder,
        {
          created_at: now.toISOString(),
          database: embedded ? 'embedded' : 'dump',
          files,
          ...facts,
        },
        sorted,
      );
      await rename(folder, join(backup, name));
      return { name, manifest, copied };
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  } finally {
    await (embedded?.joined ? embedded.leave() : embedded?.stop());
  }
}

async function embeddedIn(home: string): ReturnType<typeof startEmbeddedPostgres> {
  if (!hasEmbeddedPostgres(home))
    throw new DomainError(
      'not_found',
      `${home} contains no database; set --home to another folder, or --database-url to the URL that the API uses`,
    );
  return startEmbeddedPostgres(home);
}

async function factsOf(databaseUrl: string): Promise<Pick<Manifest, 'migration' | 'blob_marker'>> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<Pick<Manifest, 'migration' | 'blob_marker'>>(
      `SELECT (SELECT name FROM migration ORDER BY id DESC LIMIT 1) AS migration,
         (SELECT blob_marker FROM installation) AS blob_marker`,
    );
    const [facts] = rows;
    if (!facts) throw new Error('the database returned no rows');
    return facts;
  } finally {
    await client.end();
  }
}

/**
 * Copies the blobs that the folder does not have. Each is read completely and its hash is checked against its name.
 * @returns number of blobs copied
 */
async function copyBlobs(
  from: BlobBackend,
  blobs: readonly StoredBlob[],
  backup: string,
  print: Print,
): Promise<number> {
  const progress = new Progress('blobs', blobs, print);
  const bad: string[] = [];
  let copied = 0;
  await inParallel(blobs, AT_ONCE, async (blob) => {
    const path = blobPath(backup, blob.sha256);
    const there = await stat(path).catch(() => null);
    if (there?.size !== blob.size) {
      const problem = await copyBlob(from, blob, path);
      if (problem === null) copied++;
      else bad.push(problem);
    }
    progress.done(blob);
  });
  progress.end();
  if (bad.length > 0)
    throw new DomainError(
      'internal_error',
      `${bad.length} of ${blobs.length} blobs could not be copied: ${bad.slice(0, NAMED_IN_ERRORS).join('; ')}. ` +
        'Repeat the backup if files were deleted while the disk was full; blobs that are missing again are lost',
    );
  return copied;
}

/** @returns the problem with the blob, or null */
async function copyBlob(from: BlobBackend, blob: StoredBlob, path: string): Promise<string | null> {
  const { sha256, size } = blob;
  const found = await from.size(sha256);
  if (found === null) return `${sha256} is missing in ${from.place}`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.new`;
  try {
    const copy = await syncedFile(fresh, readable(from, sha256));
    if (copy.sha256 !== sha256 || copy.size !== size)
      return `${sha256} is damaged in ${from.place}: its bytes have the hash ${copy.sha256}`;
    await rename(fresh, path);
    return null;
  } catch (error) {
    if (error instanceof Unreadable) return error.message;
    throw error;
  } finally {
    await rm(fresh, { force: true });
  }
}

/** Problem with a single blob. In contrast, a backup folder that cannot be written to ends the backup. */
class Unreadable extends Error {}

async function* readable(from: BlobBackend, sha256: string): AsyncGenerator<Buffer> {
  try {
    yield* from.read(sha256, 0) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new Unreadable(
      `${sha256} cannot be read from ${from.place}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}
