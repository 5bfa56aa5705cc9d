import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import { Outage } from '../faults.js';
import { randomText } from '../ids.js';
import { log } from '../log.js';
import type { BlobBackend } from './blob-backend.js';

/** Number of blobs to check when a database from before there were markers is opened. */
const SAMPLE = 20;

/**
 * Checks that the storage holds the blobs of this installation. The first start writes a marker to it, which every
 * process must find from then on: with other storage, all blobs would count as lost and jobs would restart at step 0.
 * @throws Error with a message for the operator
 */
export async function initializeMarker(database: Database, backend: BlobBackend): Promise<void> {
  await database.transaction(async (manager) => {
    const known = await markerOf(database, 'FOR UPDATE', manager);
    const found = await backend.marker();
    if (known !== null) {
      if (found === known) return;
      throw new Error(
        `the blobs of this installation are not in ${backend.place}: ${found === null ? 'it has no file "installation" that contains' : `its file "installation" contains ${found}, not`} ${known}. ` +
          'Mount the folder that the other API processes use, or set GRAFT_BLOBS to it. ' +
          `If the blobs are lost for good, create a file "installation" that contains ${known} to start the API without them`,
      );
    }
    if (found !== null)
      throw new Error(
        `${backend.place} contains the blobs of another installation (its file "installation" contains ${found}). ` +
          'Set GRAFT_BLOBS to a place of its own; if the other installation no longer exists, delete the file',
      );
    await refuseStrange(database, backend, manager);
    const text = randomText();
    await database.query('UPDATE installation SET blob_marker = $1', [text], manager);
    await backend.mark(text);
  });
}

/**
 * Checks that the storage is still that of this installation.
 * @throws Outage if it is not, for example because a folder is no longer mounted
 */
export async function verifyMarker(database: Database, backend: BlobBackend): Promise<void> {
  if ((await backend.marker()) === (await markerOf(database))) return;
  log.error(
    { place: backend.place },
    'the blob storage has no marker of this installation; is its folder mounted?',
  );
  throw new Outage(
    'storage',
    'storage is not available: the blobs of this installation are missing from it',
  );
}

async function markerOf(
  database: Database,
  lock = '',
  manager?: EntityManager,
): Promise<string | null> {
  const [row] = await database.query<{ blob_marker: string | null }>(
    `SELECT blob_marker FROM installation ${lock}`,
    [],
    manager,
  );
  return row?.blob_marker ?? null;
}

async function refuseStrange(
  database: Database,
  backend: BlobBackend,
  manager: EntityManager,
): Promise<void> {
  const rows = await database.query<{ sha256: string }>(
    `SELECT sha256 FROM blob WHERE EXISTS (SELECT 1 FROM blob_ref WHERE blob_ref.sha256 = blob.sha256)
     ORDER BY created_at DESC LIMIT ${SAMPLE}`,
    [],
    manager,
  );
  for (const { sha256 } of rows) if ((await backend.size(sha256)) !== null) return;
  if (rows.length > 0)
    throw new Error(
      `${backend.place} has none of the blobs that this database references. Mount the folder that contains them, or set GRAFT_BLOBS to it`,
    );
}
