// Decodes the audio of requests in parallel with the trainer's turns (ADR 0015), in one thread per request that canceling
// the request ends. Requests are decoded one at a time, since audio of ten minutes takes seconds and hundreds of megabytes.
import { Worker } from 'node:worker_threads';
import { AUDIO_THREAD } from '../scripts.js';

/** Path of an audio file, which is in the trainer's memory only while it is decoded. */
export interface AudioFile {
  readonly file: string;
}

export interface DecodeRequest {
  /** Audio files of a request. They share a thread, since starting one takes longer than decoding short audio. */
  readonly clips: readonly (AudioFile | Uint8Array)[];
  /** Target sampling rate in Hz. */
  readonly samplingRate: number;
}

/** Mono samples, and the number of values before resampling; or the reason why the audio cannot be decoded. */
export type DecodedAudio =
  { readonly samples: Float32Array; readonly values: number } | { readonly problem: string };

/** Decodes audio in order. Stops after one that cannot be decoded, or when the total limit is exceeded. */
export type Decode = (
  request: DecodeRequest,
  signal: AbortSignal,
) => Promise<readonly DecodedAudio[]>;

export class AudioDecoder {
  private last: Promise<unknown> = Promise.resolve();

  /** Decodes audio. @throws the reason of `signal` if it was aborted */
  decode(request: DecodeRequest, signal: AbortSignal): Promise<readonly DecodedAudio[]> {
    const next = this.last.then(() => inThread(request, signal));
    // Do not retain the result.
    this.last = next.then(
      () => undefined,
      () => undefined,
    );
    return next;
  }
}

async function inThread(
  request: DecodeRequest,
  signal: AbortSignal,
): Promise<readonly DecodedAudio[]> {
  signal.throwIfAborted();
  const thread = new Worker(AUDIO_THREAD, {
    workerData: request,
    execArgv: [],
  });
  try {
    return await new Promise<readonly DecodedAudio[]>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', () => reject(new Error('the audio decoding thread exited')));
    });
  } finally {
    await thread.terminate();
  }
}
