// The sounds of examples: decoded and brought to the base's rate once, and read when a step wants them.
import { createHash } from 'node:crypto';
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { StoredBytes, type MediaStore } from '../media-store.js';
import type { AudioProcessor } from './audio-processor.js';
import { decodeAudio } from './decode-audio.js';
import { resample } from './resample.js';

/** One as its base hears it. */
export class HeardSound {
  readonly #audio: AudioProcessor;
  readonly #samples: StoredBytes;

  constructor(audio: AudioProcessor, samples: StoredBytes) {
    this.#audio = audio;
    this.#samples = samples;
  }

  /** f32, where the model computes. */
  features(): Tensor {
    const { buffer, byteOffset, byteLength } = this.#samples.read();
    const bytes = buffer.slice(byteOffset, byteOffset + byteLength);
    return this.#audio.features(new Float32Array(bytes));
  }
}

/** What is known of a sound that can be used. */
export interface Heard {
  readonly seconds: number;
  /** That the base makes of it. */
  readonly rows: number;
  /** That were decoded. */
  readonly values: number;
  /** Null: it was looked at, and not kept. */
  readonly sound: HeardSound | null;
}

/**
 * Of each sound, in order, what is kept of it, or why it cannot be used.
 * @param store null: they are kept in memory; left out: they are looked at alone
 * @param most values that are decoded of all: others may wait for them
 * @throws DomainError where they have more
 */
export function readSounds(
  files: readonly Uint8Array[],
  audio: AudioProcessor,
  store: MediaStore | null | undefined,
  most = Infinity,
): (Heard | string)[] {
  let values = 0;
  const found = new Map<string, Heard | string>();
  return files.map((bytes) => {
    const key = createHash('sha256').update(bytes).digest('base64');
    const known = found.get(key);
    if (known !== undefined) return known;
    const heard = read(bytes, key, audio, store);
    found.set(key, heard);
    if (typeof heard !== 'string') values += heard.values;
    if (values > most) throw tooMuch();
    return heard;
  });
}

function read(
  bytes: Uint8Array,
  key: string,
  audio: AudioProcessor,
  store: MediaStore | null | undefined,
): Heard | string {
  const decoded = attempted(bytes);
  if (typeof decoded === 'string') return decoded;
  const { samples, samplingRate, values } = decoded;
  const count = Math.ceil((samples.length * audio.samplingRate) / samplingRate);
  const seconds = samples.length / samplingRate;
  const rows = audio.rows(count);
  if (rows === 0) return `the sound has ${seconds.toFixed(3)} s: too little for this base`;
  if (store === undefined) return { seconds, rows, values, sound: null };
  const kept = (): Uint8Array =>
    new Uint8Array(resample(samples, samplingRate, audio.samplingRate).buffer);
  return { seconds, rows, values, sound: new HeardSound(audio, stored(key, kept, store)) };
}

const tooMuch = (): DomainError =>
  new DomainError(
    'invalid_value',
    'the sounds are too long to be heard at once: expected at most 10 minutes of two channels at 48 kHz in all; ask for fewer at a time',
  );

function stored(key: string, make: () => Uint8Array, store: MediaStore | null): StoredBytes {
  const known = store?.find(key);
  if (known) return known;
  const bytes = make();
  return store ? store.add(key, bytes) : new StoredBytes(() => bytes);
}

function attempted(bytes: Uint8Array): ReturnType<typeof decodeAudio> | string {
  try {
    return decodeAudio(bytes);
  } catch (error) {
    if (error instanceof DomainError) return error.message;
    throw error;
  }
}
