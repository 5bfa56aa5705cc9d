// A thread that decodes one Parquet file: a row group is decoded at once, and takes what the event loop must not.
import { parentPort, workerData } from 'node:worker_threads';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { ParquetRows } from './parquet-rows.js';

const ROWS_AT_A_TIME = 256;
const MAX_GROUP_BYTES = 1e9;

const port = parentPort;
if (!port) throw new Error('this is the code of a thread');

const file = await asyncBufferFromFile((workerData as { path: string }).path);
const metadata = await parquetMetadataAsync(file);
let first = 0;
for (const [i, group] of metadata.row_groups.entries()) {
  if (Number(group.total_byte_size) > MAX_GROUP_BYTES)
    throw new Error(
      `row group ${i} holds more than ${MAX_GROUP_BYTES} bytes; write it in smaller ones`,
    );
  const rowEnd = first + Number(group.num_rows);
  const rows = await parquetReadObjects({ file, metadata, rowStart: first, rowEnd, compressors });
  for (let at = 0; at < rows.length; at += ROWS_AT_A_TIME) {
    const json = JSON.stringify(rows.slice(at, at + ROWS_AT_A_TIME), plain);
    port.postMessage({ first: first + at, json } satisfies ParquetRows);
    await new Promise((taken) => port.once('message', taken));
  }
  first = rowEnd;
}
port.close();

/** JSON has no integers of 64 bits. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}
