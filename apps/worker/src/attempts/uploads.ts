import type { PayloadOf } from '@graft/contracts';
import type { BlobRef } from '@graft/contracts/grpc';
import type { Logger } from 'pino';
import type { Blobs } from '../blobs/blobs.js';
import { removeInside, WrittenFolder } from '../blobs/written-folder.js';
import { isStale } from '../connection/connection-error.js';
import { ADAPTER_FOLDER, checkpointFolder, type AttemptKey } from '../protocol/protocol.js';
import type { AttemptEvents } from './attempt-events.js';

export interface UploadsOptions {
  readonly attempt: AttemptKey;
  /** Folder that the trainer writes to. Its facts cannot name any other folder, because a trainer may be compromised. */
  readonly workDir: string;
  readonly blobs: Pick<Blobs, 'put' | 'adopt'>;
  readonly events: Pick<AttemptEvents, 'add' | 'log' | 'uploadWaits'>;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Called when the control plane rejects a file because the lease was lost. */
  readonly onStale: () => void;
}

/** Number of files uploaded concurrently. */
const AT_ONCE = 4;

/**
 * Uploads the files of a run, one set after another. A waiting checkpoint is skipped if a newer one is saved, unless it is
 * the best so far: the run resumes from the latest, and users need the best.
 */
export class Uploads {
  private chain: Promise<void> = Promise.resolve();
  private newest = 0;
  private best = 0;
  /** Latest checkpoint per step, since a run that stops may save the same step again. */
  private readonly owners = new Map<number, number>();

  constructor(private readonly options: UploadsOptions) {}

  /** Uploads a checkpoint, emits `saved`, and removes its folder. */
  checkpoint(payload: PayloadOf<'saved'>): void {
    const turn = ++this.newest;
    if (payload.best) this.best = turn;
    const folder = checkpointFolder(payload.step);
    this.owners.set(payload.step, turn);
    this.chain = this.chain.then(async () => {
      try {
        if (turn === this.newest || turn === this.best) {
          await this.put(folder, payload.files);
          this.options.events.add({ kind: 'saved', payload });
        }
      } catch (error) {
        this.failed(error);
      }
      if (this.owners.get(payload.step) !== turn) return;
      this.owners.delete(payload.step);
      // If this fails, the folder is removed with the run's folder. Later uploads must continue.
      await removeInside(this.options.workDir, folder).catch(() => undefined);
    });
  }

  /** Uploads the adapter after all earlier uploads. Rejects if it fails. */
  async adapter(files: readonly BlobRef[]): Promise<void> {
    await this.chain;
    await this.put(ADAPTER_FOLDER, files);
  }

  /** Resolves when all earlier uploads have succeeded or failed. */
  settled(): Promise<void> {
    return this.chain;
  }

  private async put(name: string, files: readonly BlobRef[]): Promise<void> {
    const folder = await WrittenFolder.open(this.options.workDir, name);
    const waiting = [...files];
    const lane = async () => {
      for (let ref = waiting.shift(); ref !== undefined; ref = waiting.shift())
        await this.putFile(folder, ref);
    };
    const lanes = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
    await folder.close();
    for (const end of lanes) if (end.status === 'rejected') throw end.reason;
  }

  private async putFile(folder: WrittenFolder, ref: BlobRef): Promise<void> {
    const { attempt, blobs, signal, events } = this.options;
    const path = folder.file(ref.name);
    await blobs.put(attempt, path, ref, signal, (reason) => events.uploadWaits(reason));
    await blobs.adopt(path, ref);
  }

  /** Logs the failed upload of a checkpoint. The run continues without it. */
  private failed(error: unknown): void {
    const { events, signal } = this.options;
    if (signal.aborted) return;
    if (isStale(error)) return this.options.onStale();
    const message = error instanceof Error ? error.message : String(error);
    this.options.log.error({ error: message }, 'a checkpoint could not be uploaded');
    events.log('error', `a checkpoint could not be uploaded: ${message}`);
  }
}
