import { confined } from '../../sandbox/confined-process.js';
import { lineRows } from './json-rows.js';
import { MAX_COLUMNS, unreadable, type NumberedRow } from './rows.js';
import { TABLE_PROCESS } from '../../scripts.js';

const DEADLINE_MS = 5 * 60_000;

/** What it is called in messages. */
const KINDS = { arrow: 'Arrow', parquet: 'Parquet' };

/**
 * The rows of a binary table on disk, decoded in a process of its own that a hostile file ends alone.
 * @param uploader the project whose table it is
 * @param gone aborted when nobody waits for them any more
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
