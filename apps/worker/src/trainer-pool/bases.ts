import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import type { BaseRef } from '@graft/contracts/grpc';
import type { BlobFolder } from '../blobs/blob-folder.js';
import type { Blobs } from '../blobs/blobs.js';

/** Reports a phase: a code, a sentence and, if known, the progress from 0 to 1. */
export type ReportPhase = (code: string, message: string, progress?: number) => void;

/** Files of base models, with a folder for each trainer that loads one. */
export class Bases {
  /** Cancels downloads. No single run owns a download; another run on the base can continue it. */
  private readonly shutdown = new AbortController();
  private count = 0;

  constructor(
    private readonly blobs: Pick<Blobs, 'folder'>,
    private readonly folder: string,
  ) {}

  /** Fetches the missing files. Call `release` on the folder when its trainer has exited. */
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
