import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { MAX_COLUMNS, type Row } from './rows.js';
import { TableFeatures } from './table-features.js';

const MAX_GROUP_BYTES = 1e9;

/** Yields the rows of a Parquet file, one row group at a time. */
export async function* decodeParquet(path: string): AsyncGenerator<readonly Row[]> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  const columns = metadata.schema[0]?.num_children ?? 0;
  if (columns > MAX_COLUMNS)
    throw new Error(`it has ${columns} columns; the limit is ${MAX_COLUMNS}`);
  const huggingface = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface');
  const features = new TableFeatures(huggingface?.value);
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
    const place = { rowStart: first, rowEnd };
    // Bytes are not decoded as UTF-8, because they may be images.
    const options = { file, metadata, ...place, compressors, utf8: false };
    const rows: Row[] = await parquetReadObjects(options);
    yield rows.map((row) => texts(features.row(row)) as Row);
    first = rowEnd;
  }
}

/** Decodes bytes as text, because some programs write text columns without a logical type. */
function texts(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  if (Array.isArray(value)) return (value as unknown[]).map(texts);
  if (value === null || typeof value !== 'object' || value instanceof Date) return value;
  if ((value as { readonly bytes?: unknown }).bytes instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, texts(inner)]));
}
