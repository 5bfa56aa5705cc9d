import { DomainError } from '@graft/contracts';
import type { Columns } from '../catalog/plugins.js';
import type { BlobStore, Received } from '../blobs/blob-store.js';
import { Conversion } from './conversion.js';
import { csvRows } from './csv-rows.js';
import type { Checked } from './file-check.js';
import { formatOf } from './format.js';
import { arrayRows, lineRows } from './json-rows.js';
import { LineCheck } from './line-check.js';
import { parquetRows } from './parquet-rows.js';
import { peek } from './peek.js';
import type { NumberedRow } from './rows.js';

export const MAX_FILE_BYTES = 512 * 1024 * 1024;

export interface Arrived {
  readonly blob: Received;
  readonly checked: Checked;
}

/**
 * Receives training data, checked while it passes; what is not JSON Lines of records becomes that on its way.
 * @param gone aborted when the client no longer waits
 */
export async function receiveTrainingData(
  blobs: BlobStore,
  part: AsyncIterable<Buffer>,
  filename: string,
  columns: Columns,
  gone: AbortSignal,
): Promise<Arrived> {
  const { head, all } = await peek(part);
  const source = limited(all);
  const format = formatOf(head, filename, columns);
  const convert = async (conversion: Conversion, rows: AsyncIterable<NumberedRow>) => {
    const blob = await blobs.receive(conversion.lines(rows), { limit: MAX_FILE_BYTES });
    return { blob, checked: conversion.end() };
  };
  switch (format.kind) {
    case 'records': {
      const check = new LineCheck();
      const blob = await blobs.receive(source, { inspect: (chunk) => check.push(chunk) });
      return { blob, checked: check.end() };
    }
    case 'lines':
      return convert(
        new Conversion({ container: 'json', noun: 'line', columns }),
        lineRows(source),
      );
    case 'array':
      return convert(
        new Conversion({ container: 'json', noun: 'element', columns }),
        arrayRows(source),
      );
    case 'csv':
      return convert(
        new Conversion({ container: 'csv', noun: 'row', columns }),
        csvRows(source, format.delimiter),
      );
    case 'parquet': {
      // Its table of contents is at its end.
      const whole = await blobs.receive(source);
      try {
        const conversion = new Conversion({ container: 'parquet', noun: 'row', columns });
        return await convert(conversion, parquetRows(whole.temporary, gone));
      } finally {
        await blobs.discard(whole);
      }
    }
  }
}

async function* limited(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > MAX_FILE_BYTES)
      throw new DomainError(
        'file_too_large',
        `the file is larger than ${MAX_FILE_BYTES} bytes`,
        'file',
      );
    yield chunk;
  }
}
