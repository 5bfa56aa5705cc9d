import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import { Outage } from '../faults.js';
import { randomText } from '../ids.js';
import { log } from '../log.js';
import type { BlobBackend } from './blob-backend.js';

/** Blobs of a database from before there were markers that are looked for. */
const SAMPLE = 20;

/**
 * The first start writes a marker to where the blobs lie; from then on every process must find it there. Blobs of
 * another place would be taken for lost, and jobs would begin again at step 0.
 * @throws Error in words for whoever starts the process
 */
export async function settleMarker(database: Database, backend: BlobBackend): Promise<void> {
  await database.transaction(async (manager) => {
    const known = await markerOf(database, 'FOR UPDATE', manager);
    const found = await backend.marker();
    if (known !== null) {
      if (found === known) return;
      throw new Error(
        `the blobs of this installation do not lie in ${backend.place}: ${found === null ? 'there is no file "installation" that says' : `its file "installation" says ${found}, not`} ${known}. ` +
          'Mount the folder that the other API processes use, or name it in GRAFT_BLOBS. ' +
          `Where the blobs are lost for good, a file "installation" with ${known} in it lets the API start without them`,
      );
    }
    if (found !== null)
      throw new Error(
        `${backend.place} holds the blobs of another installation (its file "installation" says ${found}). ` +
          'Name a place of its own in GRAFT_BLOBS; where that installation is gone, delete the file',
      );
    await refuseStrange(database, backend, manager);
    const text = randomText();
    await database.query('UPDATE installation SET blob_marker = $1', [text], manager);
    await backend.mark(text);
  });
}

/** @throws Outage while the place of the blobs is not there, such as a folder that is not mounted any more */
export async function proveMarker(database: Database, backend: BlobBackend): Promise<void> {
  if ((await backend.marker()) === (await markerOf(database))) return;
  log.error({ place: backend.place }, 'the blobs are not in their place any more');
  throw new Outage('storage', 'storage is not available: the blobs are not in their place');
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
      `${backend.place} has none of the blobs that this database names. Mount the folder that they lie in, or name it in GRAFT_BLOBS`,
    );
}
