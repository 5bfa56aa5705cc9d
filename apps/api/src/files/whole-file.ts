// Training data in formats that are read from their end, or in an order of their own: only once all of it is on disk.
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { BlobStore, Received } from '../blobs/blob-store.js';
import type { Columns } from '../catalog/plugins.js';
import { ArchiveLines, holdsMedia } from './archive-lines.js';
import { Conversion } from './conversion.js';
import { datasetRows } from './dataset-folder.js';
import { isTar, type WholeFormat } from './format.js';
import { LineCheck } from './line-check.js';
import { unpackedWithin } from './packed.js';
import { unreadable, type NumberedRow } from './rows.js';
import { tableRows } from './table-rows.js';
import type { Arrived, Circumstances } from './training-data.js';

const BLOCK = 512;

/** What came, as JSON Lines that are checked while they are written. */
export class WholeFile {
  private readonly uploader: string;
  private readonly gone: AbortSignal;
  private readonly within: (bytes: number) => void;

  constructor(
    private readonly blobs: BlobStore,
    private readonly whole: Received,
    private readonly columns: Columns,
    { uploader, gone, within }: Circumstances,
  ) {
    this.uploader = uploader;
    this.gone = gone;
    const unpacked = unpackedWithin(whole.size);
    this.within = (bytes) => {
      unpacked(bytes);
      within?.(bytes);
    };
  }

  async convert(kind: WholeFormat): Promise<Arrived> {
    const { whole, blobs, uploader, gone, within } = this;
    switch (kind) {
      case 'arrow':
      case 'parquet':
        return this.table(kind, tableRows(kind, whole.temporary, { uploader, gone }));
      case 'zip':
        return (await holdsMedia(whole.temporary))
          ? this.archive('zip', whole)
          : this.table('arrow', datasetRows(blobs, whole, { uploader, gone, within }));
      case 'tar':
        return this.archive('tar', whole);
      case 'gzip': {
        const tar = await blobs.receive(unpackedTar(whole.temporary), { uploader, within });
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
  ): Promise<Arrived> {
    const conversion = new Conversion({ container, noun: 'row', columns: this.columns });
    const blob = await this.blobs.receive(conversion.lines(rows), {
      uploader: this.uploader,
      within: this.within,
    });
    return { blob, checked: conversion.end() };
  }

  private async archive(container: 'tar' | 'zip', { temporary }: Received): Promise<Arrived> {
    const lines = new ArchiveLines(container, temporary, this.uploader, this.gone);
    const check = new LineCheck();
    const blob = await this.blobs.receive(lines.read(), {
      uploader: this.uploader,
      within: this.within,
      inspect: (chunk) => check.push(chunk),
    });
    return { blob, checked: check.end(lines.remarks?.layout, lines.remarks?.notes) };
  }
}

/** What is packed by gzip. @throws DomainError where that is no tar */
async function* unpackedTar(path: string): AsyncGenerator<Buffer> {
  const unpacking = createGunzip();
  // an error of either ends both, and the loop
  pipeline(createReadStream(path), unpacking, () => undefined);
  let head: Buffer | null = Buffer.alloc(0);
  try {
    for await (const chunk of unpacking as AsyncIterable<Buffer>) {
      if (head === null) yield chunk;
      else if ((head = Buffer.concat([head, chunk])).length >= BLOCK) {
        if (!isTar(head)) break;
        yield head;
        head = null;
      }
    }
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw error;
    throw unreadable('the gzip archive cannot be read: it is damaged or cut off');
  }
  if (head !== null) throw unreadable('this is a gzip archive: unpack it first');
}
