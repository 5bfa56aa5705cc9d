// Runs on the browser's audio thread and forwards samples of the microphone.
import type { RecordedPiece } from './recording.js';

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, of: new () => AudioWorkletProcessor): void;

/** Samples per message. */
const PIECE = 2048;

registerProcessor(
  'recorder',
  class extends AudioWorkletProcessor {
    private piece = new Float32Array(PIECE);
    private filled = 0;

    constructor() {
      super();
      // Any message requests the remaining samples.
      this.port.onmessage = () => this.hand(true);
    }

    private hand(isLast: boolean): void {
      const samples = this.piece.subarray(0, this.filled);
      this.port.postMessage({ samples, isLast } satisfies RecordedPiece, [this.piece.buffer]);
      this.piece = new Float32Array(PIECE);
      this.filled = 0;
    }

    process([input]: readonly (readonly Float32Array[])[]): boolean {
      for (const value of input?.[0] ?? []) {
        this.piece[this.filled++] = value;
        if (this.filled === PIECE) this.hand(false);
      }
      return true;
    }
  },
);
