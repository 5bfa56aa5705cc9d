import { copyFile, cp, lchown, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { Client } from 'pg';
import type { BlobBackend, StoredBlob } from '../blobs/blob-backend.js';
import { blobBackend } from '../blobs/configured-backend.js';
import { Settings, type ApiConfig } from '../config.js';
import { hasEmbeddedPostgres, serverIdentity } from '../database/embedded-postgres.js';
import { runPg, withoutPassword } from './database-copy.js';
import { inParallel } from './in-parallel.js';
import { blobPath } from './manifest.js';
import { Progress, type Print } from './progress.js';
import { verifyBackup, type Verified } from './verify.js';

const AT_ONCE = 4;

/**
 * Restores an installation from a snapshot into an empty `home`, or an empty database at `databaseUrl`. The snapshot
 * is verified first. The blobs are restored before the database, so that a failed restore can be repeated.
 * @param name name of the snapshot; default: the newest
 * @throws DomainError if the snapshot is damaged or an installation exists already
 */
export async function restoreBackup(
  config: ApiConfig,
  backup: string,
  print: Print,
  name?: string,
): Promise<Verified> {
  const settings = new Settings(config, config.databaseUrl ?? '');
  print('verifying the backup');
  const verified = await verifyBackup(backup, print, name);
  const { manifest, problems, blobs } = verified;
  if (problems.length > 0)
    throw new DomainError('invalid_value', `the backup is damaged: ${problems.join('; ')}`);
  const isEmbedded = manifest.database === 'embedded';
  if (isEmbedded && config.databaseUrl)
    throw new DomainError(
      'unsupported',
      'this is a backup of an embedded server; restore it to a --home, without --database-url',
    );
  if (!isEmbedded && !config.databaseUrl)
    throw new DomainError(
      'invalid_value',
      'this is a backup of an external database; set --database-url to an empty database',
    );
  await (isEmbedded ? refuseHome(config.home) : refuseDatabase(settings.databaseUrl));
  await mkdir(config.home, { recursive: true });
  await restoreBlobs(await blobBackend(settings), verified, backup, print);
  print('restoring the database');
  const folder = join(backup, verified.name);
  if (isEmbedded) await restoreEmbedded(folder, config.home);
  else await restoreDump(folder, settings.databaseUrl);
  print(`restored ${blobs.length} blobs and the database of ${manifest.created_at}`);
  return verified;
}

async function refuseHome(home: string): Promise<void> {
  if (hasEmbeddedPostgres(home))
    throw new DomainError(
      'conflict',
      `${home} already contains a database; move ${join(home, 'postgres')} away, or use another --home`,
    );
}

async function refuseDatabase(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query(`SELECT 1 FROM pg_class WHERE oid = to_regclass('job')`);
    if (rows.length > 0)
      throw new DomainError(
        'conflict',
        'the database at --database-url already contains an installation; use an empty database',
      );
  } finally {
    await client.end();
  }
}

async function restoreBlobs(
  to: BlobBackend,
  { manifest, blobs }: Verified,
  backup: string,
  print: Print,
): Promise<void> {
  await to.open();
  const found = await to.marker();
  if (found !== null && found !== manifest.blob_marker)
    throw new DomainError(
      'conflict',
      `${to.place} contains the blobs of another installation (its file "installation" contains ${found})`,
    );
  const progress = new Progress('blobs', blobs, print);
  await inParallel(blobs, AT_ONCE, async (blob) => {
    await restoreBlob(to, blob, blobPath(backup, blob.sha256));
    progress.done(blob);
  });
  progress.end();
  if (manifest.blob_marker !== null) await to.mark(manifest.blob_marker);
}

async function restoreBlob(to: BlobBackend, blob: StoredBlob, from: string): Promise<void> {
  if ((await to.size(blob.sha256)) === blob.size) return;
  const path = join(to.incoming, `restored-${blob.sha256}`);
  try {
    await copyFile(from, path);
    await to.stage(path, blob);
    await to.commit(path, blob);
  } finally {
    await rm(path, { force: true });
  }
}

/**
 * Restores the database with pg_restore. It may be restored on its original server, where the API could not recognize
 * the restore by the timeline; so the stored system identifier is replaced (lifecycle/restore-guard.ts).
 */
async function restoreDump(folder: string, databaseUrl: string): Promise<void> {
  const dump = join(folder, 'database.dump');
  const to = `--dbname=${withoutPassword(databaseUrl)}`;
  await runPg(
    'pg_restore',
    ['--no-owner', '--exit-on-error', '--single-transaction', to, dump],
    databaseUrl,
  );
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(`UPDATE installation SET system_identifier = 'restored'`);
  } finally {
    await client.end();
  }
}

/**
 * Restores the embedded server's files. They are moved into place when complete and belong to the user that
 * PostgreSQL runs as.
 */
async function restoreEmbedded(folder: string, home: string): Promise<void> {
  const [fresh, place] = [join(home, 'postgres.restored'), join(home, 'postgres')];
  await rm(fresh, { recursive: true, force: true });
  await cp(join(folder, 'postgres'), fresh, { recursive: true });
  const { uid, gid } = serverIdentity();
  const { uid: owner, gid: group } = await stat(home);
  if (uid !== undefined) {
    for (const name of await readdir(fresh, { recursive: true }))
      await lchown(join(fresh, name), uid, gid ?? uid);
    await lchown(fresh, uid, gid ?? uid);
    await lchown(join(fresh, 'password'), owner, group);
  }
  await rm(place, { recursive: true, force: true });
  await rename(fresh, place);
}
