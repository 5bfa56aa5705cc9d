import { fileURLToPath } from 'node:url';

// Here, because these paths must hold in both builds: each file compiled alone (dist) and all in one (bundle), where
// only the programs keep their places below this file.

/** Reads an archive of media, in a process of its own. */
export const ARCHIVE_PROCESS = scriptAt('./files/archives/archive-process.js');
/** Reads Arrow and Parquet, in a process of its own. */
export const TABLE_PROCESS = scriptAt('./files/rows/table-process.js');
/** Looks into zips of training data and unpacks them and what gzip packed, in a process of its own. */
export const UNPACK_PROCESS = scriptAt('./files/archives/unpack-process.js');
/** Looks at models and adapters before they are kept, in a process of its own. */
export const INSPECT_PROCESS = scriptAt('./models/imports/inspect-process.js');
/** Renders and tokenises rows of data, in a process of its own. */
export const READER_PROCESS = scriptAt('./preview/reader-process.js');
/** Compiles the schema of an eval's items, in a thread. */
export const ITEM_SCHEMA_WORKER = scriptAt('./evals/item-schema-worker.js');
/** What is installed: all packages with their dependencies. */
export const CHECKOUT = scriptAt('../../..');

function scriptAt(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
