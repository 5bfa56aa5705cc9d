import { confined } from '../../sandbox/confined-process.js';
import { lineRows } from './json-rows.js';
import { MAX_COLUMNS, unreadable, type NumberedRow } from './rows.js';
import { TABLE_PROCESS } from '../../scripts.js';

const DEADLINE_MS = 5 * 60_000;

/** Names of the formats in messages. */
const KINDS = { arrow: 'Arrow', parquet: 'Parquet' };

/**
 * Yields the rows of a binary table. It is decoded in a separate process, so that a malicious file can only end that
 * process.
 * @param uploader project that owns the table
 * @param gone aborted when the client no longer waits
 */
export function tableRows(
  kind: keyof typeof KINDS,
  path: string,
  { uploader: owner, gone }: { readonly uploader: string; readonly gone: AbortSignal },
  deadlineMs = DEADLINE_MS,
): AsyncGenerator<NumberedRow> {
  const failure = (reason: string): Error =>
    unreadable(`the ${KINDS[kind]} file cannot be read: ${reason.slice(0, 200)}`);
  const script = TABLE_PROCESS;
  const order = { owner, script, arguments: [kind], path, gone, deadlineMs, failure };
  return lineRows(confined(order), MAX_COLUMNS);
}
