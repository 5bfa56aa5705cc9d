import type { Columns } from '../catalog/plugins.js';
import type { BlobStore } from '../blobs/blob-store.js';
import { Conversion } from './rows/conversion.js';
import { csvRows } from './rows/csv-rows.js';
import { formatOf } from './rows/format.js';
import { arrayRows, lineRows } from './rows/json-rows.js';
import { LineCheck } from './rows/line-check.js';
import { peek } from './peek.js';
import type { ReceivedFile, ReceiveContext } from './received-file.js';
import type { NumberedRow } from './rows/rows.js';
import { withSlots } from './upload-slots.js';
import { WholeFile } from './whole-file.js';

/** Receives training data and checks it at the same time. Other formats are converted to JSON Lines of records. */
export async function receiveTrainingData(
  blobs: BlobStore,
  part: AsyncIterable<Buffer>,
  filename: string,
  columns: Columns,
  { uploader, gone, announced, within, received, requiresLabelColumns }: ReceiveContext,
): Promise<ReceivedFile> {
  const { head, all } = await peek(part);
  const source = withSlots(all, uploader, gone);
  const format = formatOf(head, filename, columns);
  const convert = async (conversion: Conversion, rows: AsyncIterable<NumberedRow>) => {
    const blob = await blobs.receive(conversion.lines(rows), { uploader, within });
    return { blob, checked: conversion.end() };
  };
  switch (format.kind) {
    case 'records': {
      const check = new LineCheck();
      const blob = await blobs.receive(source, {
        uploader,
        announced,
        within,
        inspect: (chunk) => check.push(chunk),
      });
      return { blob, checked: check.end() };
    }
    case 'lines':
      return convert(
        new Conversion({ container: 'json', noun: 'line', columns, requiresLabelColumns }),
        lineRows(source),
      );
    case 'array':
      return convert(
        new Conversion({ container: 'json', noun: 'element', columns, requiresLabelColumns }),
        arrayRows(source),
      );
    case 'csv':
      return convert(
        new Conversion({ container: 'csv', noun: 'row', columns, requiresLabelColumns }),
        csvRows(source, format.delimiter),
      );
    default: {
      const whole = await blobs.receive(source, { uploader, announced, within });
      received?.();
      try {
        return await new WholeFile(blobs, whole, columns, {
          uploader,
          gone,
          within,
          requiresLabelColumns,
        }).convert(format.kind);
      } finally {
        await blobs.discard(whole);
      }
    }
  }
}
