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
  /** Where the trainer writes. Its facts name no other place: it could be deceived, or deceive. */
  readonly workDir: string;
  readonly blobs: Pick<Blobs, 'put' | 'adopt'>;
  readonly events: Pick<AttemptEvents, 'add' | 'log' | 'uploadWaits'>;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** The control plane refuses a file: the lease is not ours any more. */
  readonly onStale: () => void;
}

/** Files of one set that travel at the same time. */
const AT_ONCE = 4;

/**
 * Files of one run on their way up, one set after another. A checkpoint that still waits when a newer one comes is left
 * out, unless it is the best so far: the run goes on from the latest, and users look for the best.
 */
export class Uploads {
  private chain: Promise<void> = Promise.resolve();
  private newest = 0;
  private best = 0;
  /** The last checkpoint given for each step: a run told to stop may save the same one again. */
  private readonly owners = new Map<number, number>();

  constructor(private readonly options: UploadsOptions) {}

  /** Puts a checkpoint's files, then emits `saved`, then removes its folder. */
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
      // Where that fails it goes with the run's folder; what comes after must not stop for it.
      await removeInside(this.options.workDir, folder).catch(() => undefined);
    });
  }

  /** When everything given before is up, puts the adapter's files too; rejects if they cannot be put. */
  async adapter(files: readonly BlobRef[]): Promise<void> {
    await this.chain;
    await this.put(ADAPTER_FOLDER, files);
  }

  /** Resolves when everything given before is up or given up. */
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

  /** Of a checkpoint: the run goes on without it. */
  private failed(error: unknown): void {
    const { events, signal } = this.options;
    if (signal.aborted) return;
    if (isStale(error)) return this.options.onStale();
    const message = error instanceof Error ? error.message : String(error);
    this.options.log.error({ error: message }, 'a checkpoint could not be uploaded');
    events.log('error', `a checkpoint could not be uploaded: ${message}`);
  }
}
