// Parts of a long sound, each as much as a base hears at once.

/** Of a window: its end in which it is cut, what is left of the sound at least, */
const [CUT, LEAST] = [1 / 6, 1 / 30];
/** how long it is quiet where it is cut (0.2 s of 30), and between two places that are looked at. */
const [QUIET, STEP] = [1 / 150, 1 / 1500];

/**
 * Where a window of so many samples ends that begins at `from`: at the sound's end, or in the middle of the quietest place
 * of its last sixth, of equal ones the last.
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

/** Samples as a file: what is read of it are the same numbers. */
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
