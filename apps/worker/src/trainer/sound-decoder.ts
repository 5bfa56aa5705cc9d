// Sounds of questions are decoded beside a trainer's turns (ADR 0015), in threads of their own that a cancelled question
// ends, one after another: a sound of ten minutes takes seconds and hundreds of megabytes.
import { Worker } from 'node:worker_threads';
import { SOUND_THREAD } from '../scripts.js';

/** Its path: nothing of it is in the trainer's memory but while it is decoded. */
export interface SoundFile {
  readonly file: string;
}

export interface SoundOrder {
  /** Of one question: a thread takes longer to begin than to decode a short sound. */
  readonly sounds: readonly (SoundFile | Uint8Array)[];
  /** Samples a second, of what is wanted. */
  readonly samplingRate: number;
}

/** One channel, and of how many values in all it was made; or why it cannot be heard. */
export type DecodedSound =
  { readonly samples: Float32Array; readonly values: number } | { readonly problem: string };

/** In order, until one that cannot be heard, or beyond which they are too much. */
export type Decode = (order: SoundOrder, left: AbortSignal) => Promise<readonly DecodedSound[]>;

export class SoundDecoder {
  private last: Promise<unknown> = Promise.resolve();

  /** @throws what `left` was aborted with */
  decode(order: SoundOrder, left: AbortSignal): Promise<readonly DecodedSound[]> {
    const next = this.last.then(() => inThread(order, left));
    // what it found is its asker's: nothing of it is kept here
    this.last = next.then(
      () => undefined,
      () => undefined,
    );
    return next;
  }
}

async function inThread(order: SoundOrder, left: AbortSignal): Promise<readonly DecodedSound[]> {
  left.throwIfAborted();
  const thread = new Worker(SOUND_THREAD, {
    workerData: order,
    execArgv: [],
  });
  try {
    return await new Promise<readonly DecodedSound[]>((resolve, reject) => {
      left.addEventListener('abort', () => reject(left.reason as Error), { once: true });
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', () => reject(new Error('the thread that decodes sounds ended')));
    });
  } finally {
    await thread.terminate();
  }
}
