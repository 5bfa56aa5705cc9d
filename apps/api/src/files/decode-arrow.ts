import { createReadStream } from 'node:fs';
import { RecordBatchReader } from 'apache-arrow';
import { MAX_COLUMNS } from './rows.js';

/** The rows of an Arrow file or stream, a record batch at a time. */
export async function* decodeArrow(path: string): AsyncGenerator<Iterable<unknown>> {
  const reader = await RecordBatchReader.from(createReadStream(path));
  await reader.open();
  const columns = reader.schema.fields.length;
  if (columns > MAX_COLUMNS)
    throw new Error(`it has ${columns} columns; the limit is ${MAX_COLUMNS}`);
  try {
    for await (const batch of reader) yield batch;
  } catch (error) {
    if (!/codec not found/.test((error as Error).message)) throw error;
    const message = 'it is compressed; write it without compression, as save_to_disk does';
    throw new Error(message, { cause: error });
  }
}
