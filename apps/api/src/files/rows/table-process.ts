// Process that decodes a binary table and writes JSON Lines to stdout.
import { MAX_LINE_BYTES, MAX_MEDIA_LINE_BYTES } from '@graft/contracts';
import { fail, guard, write } from '../../sandbox/confined-guard.js';

const BATCH_CHARACTERS = 64 * 1024;

guard();

/** Writes each row as a line. A line beyond the limit is truncated after the limit, so that the reader rejects it. */
async function writeRows(rows: Iterable<unknown>): Promise<void> {
  let batch = '';
  for (const row of rows) {
    const line = JSON.stringify(row, plain);
    const most = line.includes('"data:') ? MAX_MEDIA_LINE_BYTES : MAX_LINE_BYTES;
    batch += `${line.slice(0, most + 1)}\n`;
    if (batch.length < BATCH_CHARACTERS) continue;
    await write(batch);
    batch = '';
  }
  await write(batch);
}

/** Converts values that JSON does not support: 64-bit integers and bytes. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: value.length };
  return typeof value === 'bigint' ? Number(value) : value;
}

try {
  const [kind, path] = process.argv.slice(2) as [string, string];
  // Only the decoder that is needed is loaded, because loading takes a while.
  const decode =
    kind === 'arrow'
      ? (await import('./decode-arrow.js')).decodeArrow
      : (await import('./decode-parquet.js')).decodeParquet;
  for await (const rows of decode(path)) await writeRows(rows);
} catch (error) {
  fail(error);
}
