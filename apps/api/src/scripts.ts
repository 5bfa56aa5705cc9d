import { fileURLToPath } from 'node:url';

// These paths must be valid in both builds: one file for each module (dist), and the bundle, in which only the
// programs keep their paths below this file.

/** Process that reads an archive of media. */
export const ARCHIVE_PROCESS = scriptAt('./files/archives/archive-process.js');
/** Process that reads Arrow and Parquet files. */
export const TABLE_PROCESS = scriptAt('./files/rows/table-process.js');
/** Process that inspects and unpacks zip and gzip files of training data. */
export const UNPACK_PROCESS = scriptAt('./files/archives/unpack-process.js');
/** Process that inspects models and adapters before they are stored. */
export const INSPECT_PROCESS = scriptAt('./models/imports/inspect-process.js');
/** Process that renders and tokenizes rows of data. */
export const READER_PROCESS = scriptAt('./preview/reader-process.js');
/** Thread that compiles the schema of an eval's items. */
export const ITEM_SCHEMA_WORKER = scriptAt('./evals/item-schema-worker.js');
/** Root of the checkout or installation, with all packages and their dependencies. */
export const CHECKOUT = scriptAt('../../..');

function scriptAt(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
