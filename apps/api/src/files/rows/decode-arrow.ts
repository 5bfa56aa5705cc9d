import { createReadStream } from 'node:fs';
import { RecordBatchReader } from 'apache-arrow';
import { MAX_COLUMNS, type Row } from './rows.js';
import { TableFeatures } from './table-features.js';

/** Yields the rows of an Arrow file or stream, one record batch at a time. */
export async function* decodeArrow(path: string): AsyncGenerator<Iterable<Row>> {
  const reader = await RecordBatchReader.from(createReadStream(path));
  await reader.open();
  const columns = reader.schema.fields.length;
  if (columns > MAX_COLUMNS)
    throw new Error(`it has ${columns} columns; the limit is ${MAX_COLUMNS}`);
  const features = new TableFeatures(reader.schema.metadata.get('huggingface'));
  try {
    for await (const batch of reader) yield rowsOf(batch as Iterable<{ toJSON(): Row }>, features);
  } catch (error) {
    if (!/codec not found/.test((error as Error).message)) throw error;
    const message = 'it is compressed; write it without compression, as save_to_disk does';
    throw new Error(message, { cause: error });
  }
}

function* rowsOf(batch: Iterable<{ toJSON(): Row }>, features: TableFeatures): Generator<Row> {
  for (const row of batch) yield features.row(row.toJSON());
}
