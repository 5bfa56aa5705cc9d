// A process that decodes one Parquet file into JSON Lines on its output. What a file claims decides what the decoder
// allocates, beyond the heap, too: here one that claims too much is killed without anybody noticing.
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MAX_LINE_BYTES } from './line-splitter.js';
import { MAX_COLUMNS } from './rows.js';

const MOST_BYTES = 1.5e9;
const MAX_GROUP_BYTES = 1e9;
const BATCH_CHARACTERS = 64 * 1024;

// The decoder leaves no time to look: a thread does. An API that was killed leaves nobody to end this process.
const guard = `const { ppid } = process;
setInterval(() => {
  if (process.memoryUsage.rss() > ${MOST_BYTES} || process.ppid !== ppid) process.kill(process.pid, 'SIGKILL');
}, 20);`;
new Worker(guard, { eval: true, execArgv: [] }).unref();

async function decode(path: string): Promise<void> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  const columns = metadata.schema[0]?.num_children ?? 0;
  if (columns > MAX_COLUMNS)
    throw new Error(`it has ${columns} columns; a table may have ${MAX_COLUMNS}`);
  let first = 0;
  for (const [i, group] of metadata.row_groups.entries()) {
    if (Number(group.total_byte_size) > MAX_GROUP_BYTES)
      throw new Error(
        `row group ${i} holds more than ${MAX_GROUP_BYTES} bytes; write it in smaller ones`,
      );
    const codec = group.columns
      .map(({ meta_data: column }) => column?.codec ?? 'UNCOMPRESSED')
      .find((name) => name !== 'UNCOMPRESSED' && !compressors[name]);
    if (codec) throw new Error(`its compression ${codec} is not supported; write it with snappy`);
    const rowEnd = first + Number(group.num_rows);
    await write(await parquetReadObjects({ file, metadata, rowStart: first, rowEnd, compressors }));
    first = rowEnd;
  }
}

/** A row a line. One beyond the limit is cut behind it, for the reader to refuse. */
async function write(rows: readonly unknown[]): Promise<void> {
  let batch = '';
  const flush = async (): Promise<void> => {
    const room = process.stdout.write(batch);
    batch = '';
    if (!room) await once(process.stdout, 'drain');
  };
  for (const row of rows) {
    batch += `${JSON.stringify(row, plain).slice(0, MAX_LINE_BYTES + 1)}\n`;
    if (batch.length >= BATCH_CHARACTERS) await flush();
  }
  await flush();
}

/** JSON has no integers of 64 bits and no bytes. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: value.length };
  return typeof value === 'bigint' ? Number(value) : value;
}

try {
  await decode(process.argv[2] as string);
} catch (error) {
  process.stderr.write((error as Error).message.slice(0, 200));
  process.exitCode = 1;
}
