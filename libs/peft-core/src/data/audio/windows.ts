// Splits long audio into windows that a base can process.

/** Share at the end of a window in which it may be split, and minimum audio after a split, as a share of a window. */
const [CUT, LEAST] = [1 / 6, 1 / 30];
/** Length of the quiet part at a split (0.2 s of 30), and distance of the positions that are compared. */
const [QUIET, STEP] = [1 / 150, 1 / 1500];

/**
 * Returns where a window of at most this many samples that starts at `from` ends: at the end of the audio, or
 * in the middle of the quietest part of its last sixth (the last one if several are equal).
 */
export function quietEnd(samples: Float32Array, from: number, most: number): number {
  const end = from + most;
  if (samples.length <= end) return samples.length;
  const quiet = Math.ceil(QUIET * most);
  const step = Math.ceil(STEP * most);
  const last = Math.min(end, samples.length - Math.ceil(LEAST * most)) - quiet;
  let [least, place] = [Infinity, last];
  for (let at = last; at >= end - CUT * most; at -= step) {
    const loudness = energy(samples, at, at + quiet);
    if (loudness < least) [least, place] = [loudness, at];
  }
  return place + Math.floor(quiet / 2);
}

function energy(samples: Float32Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += (samples[i] as number) ** 2;
  return sum;
}

const FLOAT = 3;
const BYTES = 4;

/** Encodes samples as a WAV file without loss. */
export function wavFile(samples: Float32Array, samplingRate: number): Buffer {
  const header = Buffer.alloc(44);
  const bytes = BYTES * samples.length;
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + bytes, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(FLOAT, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(samplingRate, 24);
  header.writeUInt32LE(BYTES * samplingRate, 28);
  header.writeUInt16LE(BYTES, 32);
  header.writeUInt16LE(8 * BYTES, 34);
  header.write('data', 36);
  header.writeUInt32LE(bytes, 40);
  return Buffer.concat([header, new Uint8Array(samples.buffer, samples.byteOffset, bytes)]);
}
