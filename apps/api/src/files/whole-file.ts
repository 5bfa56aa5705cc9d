// Reads training data in formats that need random access, so the whole file must be on disk first.
import type { BlobStore, Received } from '../blobs/blob-store.js';
import type { Columns } from '../catalog/plugins.js';
import { ArchiveLines } from './archives/archive-lines.js';
import { confined } from '../sandbox/confined-process.js';
import { Conversion } from './rows/conversion.js';
import { datasetRows, datasetShards } from './archives/dataset-folder.js';
import type { WholeFormat } from './rows/format.js';
import { LineCheck } from './rows/line-check.js';
import { unpackedSizeGuard } from './archives/unpacked-size.js';
import { unreadable, type NumberedRow } from './rows/rows.js';
import { tableRows } from './rows/table-rows.js';
import { UNPACK_PROCESS } from '../scripts.js';
import type { ReceivedFile, ReceiveContext } from './received-file.js';

const UNPACK_MS = 30 * 60_000;

/** Converts a stored upload to JSON Lines, which are checked while they are written. */
export class WholeFile {
  private readonly uploader: string;
  private readonly gone: AbortSignal;
  private readonly requiresLabelColumns: boolean | undefined;
  private readonly within: (bytes: number) => void;

  constructor(
    private readonly blobs: BlobStore,
    private readonly whole: Received,
    private readonly columns: Columns,
    { uploader, gone, within, requiresLabelColumns }: ReceiveContext,
  ) {
    this.uploader = uploader;
    this.gone = gone;
    this.requiresLabelColumns = requiresLabelColumns;
    const unpacked = unpackedSizeGuard(whole.size);
    this.within = (bytes) => {
      unpacked(bytes);
      within?.(bytes);
    };
  }

  async convert(kind: WholeFormat): Promise<ReceivedFile> {
    const { whole, blobs, uploader, gone, within } = this;
    switch (kind) {
      case 'arrow':
      case 'parquet':
        return this.table(kind, tableRows(kind, whole.temporary, { uploader, gone }));
      case 'zip': {
        const shards = await datasetShards(whole, { uploader, gone });
        return shards === null
          ? this.archive('zip', whole)
          : this.table('arrow', datasetRows(blobs, whole, shards, { uploader, gone, within }));
      }
      case 'tar':
        return this.archive('tar', whole);
      case 'gzip': {
        const tar = await blobs.receive(this.unpackedTar(), { uploader, within });
        try {
          return await this.archive('tar', tar);
        } finally {
          await blobs.discard(tar);
        }
      }
    }
  }

  private async table(
    container: 'arrow' | 'parquet',
    rows: AsyncIterable<NumberedRow>,
  ): Promise<ReceivedFile> {
    const { columns, requiresLabelColumns } = this;
    const conversion = new Conversion({ container, noun: 'row', columns, requiresLabelColumns });
    const blob = await this.blobs.receive(conversion.lines(rows), {
      uploader: this.uploader,
      within: this.within,
    });
    return { blob, checked: conversion.end() };
  }

  private async archive(container: 'tar' | 'zip', { temporary }: Received): Promise<ReceivedFile> {
    const lines = new ArchiveLines(container, temporary, this.uploader, this.gone);
    const check = new LineCheck();
    const blob = await this.blobs.receive(lines.read(), {
      uploader: this.uploader,
      within: this.within,
      inspect: (chunk) => check.push(chunk),
    });
    return { blob, checked: check.end(lines.remarks?.layout, lines.remarks?.notes) };
  }

  /**
   * Yields the content of a gzip file.
   * @throws DomainError if it is not a tar
   */
  private async *unpackedTar(): AsyncGenerator<Buffer> {
    let isEmpty = true;
    const unpacked = confined({
      owner: this.uploader,
      script: UNPACK_PROCESS,
      arguments: ['tar'],
      path: this.whole.temporary,
      gone: this.gone,
      deadlineMs: UNPACK_MS,
      failure: (reason) => unreadable(`the gzip archive cannot be read: ${reason.slice(0, 200)}`),
    });
    for await (const chunk of unpacked) {
      isEmpty = false;
      yield chunk;
    }
    if (isEmpty) throw unreadable('this is a gzip archive; unpack it first');
  }
}
