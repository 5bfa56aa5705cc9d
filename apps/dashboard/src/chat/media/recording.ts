// Records the microphone as a WAV file, because the API does not read the formats of MediaRecorder.
import worklet from './recorder-worklet.ts?worker&url';

/** Sample rate that audio models expect, in Hz. */
const RATE = 16_000;
const HEADER_BYTES = 44;
/**
 * Milliseconds after which an audio thread that does not respond counts as gone. Its remaining
 * samples are lost, the others are kept.
 */
const ANSWER_MS = 1000;
/**
 * Maximum length of a recording. The API accepts ten minutes, and the last chunk can exceed the
 * limit slightly.
 */
export const MAX_SECONDS = 599;

export interface RecordedPiece {
  readonly samples: Float32Array;
  /** Whether it contains the remaining samples, sent on request. */
  readonly isLast: boolean;
}

export class Recording {
  private readonly pieces: Float32Array[] = [];
  private samples = 0;
  private loudest = 0;
  private ended: () => void = () => undefined;

  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
    private readonly node: AudioWorkletNode,
  ) {
    node.port.onmessage = ({ data }: MessageEvent<RecordedPiece>) => this.receive(data);
  }

  private receive({ samples, isLast }: RecordedPiece): void {
    this.loudest = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (this.seconds < MAX_SECONDS) {
      this.pieces.push(samples);
      this.samples += samples.length;
    }
    if (isLast) this.ended();
  }

  /** @throws DOMException if there is no microphone or access is denied */
  static async start(): Promise<Recording> {
    // Browsers provide it only on https pages and on localhost.
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (!devices) throw new Error('browsers allow it on https pages only');
    const stream = await devices.getUserMedia({ audio: { channelCount: 1 } });
    const context = new AudioContext({ sampleRate: RATE });
    try {
      await context.audioWorklet.addModule(worklet);
      const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
      const recording = new Recording(context, stream, node);
      context.createMediaStreamSource(stream).connect(node);
      return recording;
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      await context.close();
      throw error;
    }
  }

  get seconds(): number {
    return this.samples / this.context.sampleRate;
  }

  /** Loudness of the newest samples: their largest absolute value, from 0 to 1. */
  get level(): number {
    return Math.min(this.loudest, 1);
  }

  /** Returns the recording and releases the microphone. */
  async end(name: string): Promise<File> {
    const last = new Promise<void>((resolve) => {
      this.ended = resolve;
      setTimeout(resolve, ANSWER_MS);
    });
    // Samples of an incomplete chunk are sent only on request.
    this.node.port.postMessage('end');
    await last;
    this.close();
    return this.file(name);
  }

  private file(name: string): File {
    return new File([wavOf(this.pieces, this.context.sampleRate)], name, { type: 'audio/wav' });
  }

  /** Releases the microphone. */
  close(): void {
    for (const track of this.stream.getTracks()) track.stop();
    if (this.context.state !== 'closed') void this.context.close();
  }
}

/** Encodes samples as a WAV file with one channel of 16 bits. */
export function wavOf(pieces: readonly Float32Array[], rate: number): ArrayBuffer {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + 2 * length));
  const text = (at: number, value: string): void => {
    for (const [i, letter] of [...value].entries()) view.setUint8(at + i, letter.charCodeAt(0));
  };
  text(0, 'RIFF');
  view.setUint32(4, 36 + 2 * length, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, 2 * length, true);
  let at = HEADER_BYTES;
  for (const piece of pieces)
    for (const value of piece) {
      view.setInt16(at, Math.round(32_767 * Math.max(-1, Math.min(1, value))), true);
      at += 2;
    }
  return view.buffer;
}
