// Runs on the browser's audio thread: hands on what the microphone hears.

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, of: new () => AudioWorkletProcessor): void;

/** Samples that are handed on at once. */
const PIECE = 2048;

registerProcessor(
  'recorder',
  class extends AudioWorkletProcessor {
    private piece = new Float32Array(PIECE);
    private filled = 0;

    process([input]: readonly (readonly Float32Array[])[]): boolean {
      for (const value of input?.[0] ?? []) {
        this.piece[this.filled++] = value;
        if (this.filled < PIECE) continue;
        this.port.postMessage(this.piece, [this.piece.buffer]);
        this.piece = new Float32Array(PIECE);
        this.filled = 0;
      }
      return true;
    }
  },
);
