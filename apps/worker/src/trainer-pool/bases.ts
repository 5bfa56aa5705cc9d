import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BaseRef } from '@graft/contracts/grpc';
import type { BlobFolder } from '../blobs/blob-folder.js';
import type { Blobs } from '../blobs/blobs.js';

/** Reports what is being waited for: a code, a sentence and, where known, a share of 0..1. */
export type ReportPhase = (code: string, message: string, progress?: number) => void;

/** The files of base models, in a folder for each trainer that loads one. */
export class Bases {
  /** Ends downloads, which no single run owns: the next run on that base takes them over. */
  private readonly shutdown = new AbortController();
  private count = 0;

  constructor(
    private readonly blobs: Pick<Blobs, 'folder'>,
    private readonly folder: string,
  ) {}

  /** Fetches what is missing; `release` the folder when its trainer is gone. */
  fetch({ id, files }: BaseRef, report: ReportPhase): Promise<BlobFolder> {
    const path = join(this.folder, String(++this.count));
    return this.blobs.folder(path, files, this.shutdown.signal, (share) =>
      report('downloading', `downloading the base ${id}`, share),
    );
  }

  close(): void {
    this.shutdown.abort(new DomainError('unavailable', 'the worker is closing'));
  }
}
