import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { text } from 'node:stream/consumers';
import { lineRows } from './json-rows.js';
import { MAX_COLUMNS, unreadable, type NumberedRow } from './rows.js';
import { Slots } from './slots.js';

const SCRIPT = fileURLToPath(new URL('./table-process.js', import.meta.url));
const HEAP_MB = 1024;
const DEADLINE_MS = 5 * 60_000;

/** Each may take 1.5 GB. */
const slots = new Slots(2, 16);

/** What it is called in messages. */
const KINDS = { arrow: 'Arrow', parquet: 'Parquet' };

/**
 * The rows of a binary table on disk, decoded in a process of its own that a hostile file ends alone.
 * @param gone aborted when nobody waits for them any more
 */
export async function* tableRows(
  kind: keyof typeof KINDS,
  path: string,
  gone: AbortSignal,
  deadlineMs = DEADLINE_MS,
): AsyncGenerator<NumberedRow> {
  const done = await slots.take(gone);
  try {
    yield* decoded(kind, path, gone, deadlineMs);
  } finally {
    done();
  }
}

async function* decoded(
  kind: keyof typeof KINDS,
  path: string,
  gone: AbortSignal,
  deadlineMs: number,
): AsyncGenerator<NumberedRow> {
  const late = AbortSignal.timeout(deadlineMs);
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MB}`, SCRIPT, kind, path], {
    // It needs no secrets of the API's environment.
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.any([gone, late]),
    killSignal: 'SIGKILL',
  });
  const ended = endOf(child);
  ended.catch(() => undefined);
  try {
    yield* lineRows(child.stdout, MAX_COLUMNS);
    const reason = await ended;
    gone.throwIfAborted();
    if (late.aborted) throw unread(kind, `it takes longer than ${deadlineMs / 1000} s`);
    if (reason !== null) throw unread(kind, reason);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** Why it ended early, or null. */
async function endOf(child: ChildProcess): Promise<string | null> {
  const said = text(child.stderr as Readable).catch(() => '');
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', (error) => {
      // One that runs ends by its signal, and closes.
      if (child.pid === undefined) reject(error);
    });
  });
  if (code === 0) return null;
  return code === 1 ? (await said).slice(0, 200) : 'it needs too much memory';
}

const unread = (kind: keyof typeof KINDS, reason: string): Error =>
  unreadable(`the ${KINDS[kind]} file cannot be read: ${reason}`);
