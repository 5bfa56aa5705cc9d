import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { MAX_COLUMNS } from './rows.js';

const MAX_GROUP_BYTES = 1e9;

/** The rows of a Parquet file, a row group at a time. */
export async function* decodeParquet(path: string): AsyncGenerator<readonly unknown[]> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  const columns = metadata.schema[0]?.num_children ?? 0;
  if (columns > MAX_COLUMNS)
    throw new Error(`it has ${columns} columns; the limit is ${MAX_COLUMNS}`);
  let first = 0;
  for (const [i, group] of metadata.row_groups.entries()) {
    if (Number(group.total_byte_size) > MAX_GROUP_BYTES)
      throw new Error(
        `row group ${i} is larger than ${MAX_GROUP_BYTES} bytes; write smaller row groups`,
      );
    const codec = group.columns
      .map(({ meta_data: column }) => column?.codec ?? 'UNCOMPRESSED')
      .find((name) => name !== 'UNCOMPRESSED' && !compressors[name]);
    if (codec) throw new Error(`its compression ${codec} is not supported; write it with snappy`);
    const rowEnd = first + Number(group.num_rows);
    yield await parquetReadObjects({ file, metadata, rowStart: first, rowEnd, compressors });
    first = rowEnd;
  }
}
