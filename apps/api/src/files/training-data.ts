import type { Columns } from '../catalog/plugins.js';
import type { BlobStore, Received } from '../blobs/blob-store.js';
import { Conversion } from './rows/conversion.js';
import { csvRows } from './rows/csv-rows.js';
import type { Checked } from './rows/file-check.js';
import { formatOf } from './rows/format.js';
import { arrayRows, lineRows } from './rows/json-rows.js';
import { LineCheck } from './rows/line-check.js';
import { peek } from './peek.js';
import type { NumberedRow } from './rows/rows.js';
import { withSlots } from './upload-slots.js';
import { WholeFile } from './whole-file.js';

export interface ReceivedFile {
  readonly blob: Received;
  readonly checked: Checked;
}

export interface ReceiveContext {
  /** Project that uploads the data. */
  readonly uploader: string;
  /** Aborted when the client no longer waits. */
  readonly gone: AbortSignal;
  /** Approximate number of bytes to expect. */
  readonly announced?: number;
  /** Throws if that many bytes exceed a quota. */
  readonly within?: (bytes: number) => void;
  /** Called after the last byte was received. Later steps read a local file. */
  readonly received?: () => void;
  /**
   * Whether to reject plain texts next to a column that looks like their labels, so that the user selects the
   * columns.
   */
  readonly requiresLabelColumns?: boolean;
}

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
