// The sounds of examples: decoded and brought to the base's rate once, before training and between the turns of other
// runs, and read when a step wants them.
import { createHash } from 'node:crypto';
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { StoredBytes, type MediaStore, type Origin } from '../media-store.js';
import type { AudioProcessor } from './audio-processor.js';
import { audioFormat, decodeAudio } from './decode-audio.js';
import { resample } from './resample.js';
import { tooMuchSound, type Sound, type SoundFormat } from './sound.js';

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
  /** Of all channels: what decoding it comes to. */
  readonly values: number;
  /** Null: it was looked at, and not kept. */
  readonly sound: HeardSound | null;
}

/** Of a value, in bytes of pictures: a piece is half a million, some 0.25 s of work. */
const VALUE_WORK = 16;

/** Where they are kept, to be decoded before training, and where each stands in its file. */
interface Keeping {
  readonly store: MediaStore;
  readonly origins: readonly Origin[];
}

/**
 * Of each sound, in order, what is kept of it, or why it cannot be used.
 * @param keeping null: they are kept in memory; left out: they are looked at alone
 * @param most values that are decoded of all: others may wait for them
 * @throws DomainError where they have more
 */
export function readSounds(
  files: readonly Uint8Array[],
  audio: AudioProcessor,
  keeping: Keeping | null | undefined,
  most = Infinity,
): (Heard | string)[] {
  let values = 0;
  const found = new Map<string, Heard | string>();
  return files.map((bytes, i) => {
    const key = createHash('sha256').update(bytes).digest('base64');
    const known = found.get(key);
    if (known !== undefined) return known;
    const heard = keeping
      ? keepSound(bytes, key, audio, keeping.store, keeping.origins[i] as Origin)
      : readSound(bytes, audio, keeping === null);
    found.set(key, heard);
    if (typeof heard !== 'string') values += heard.values;
    if (values > most) throw tooMuchSound();
    return heard;
  });
}

/** What its file says of it; it is decoded by the store before training, or now where the file does not say how long it is. */
function keepSound(
  bytes: Uint8Array,
  key: string,
  audio: AudioProcessor,
  store: MediaStore,
  origin: Origin,
): Heard | string {
  const format = attempted(() => audioFormat(bytes));
  if (typeof format === 'string') return format;
  const { length, samplingRate, channels } = format;
  if (length === 0) {
    const decoded = attempted(() => decodeAudio(bytes));
    if (typeof decoded === 'string') return decoded;
    const add = (): StoredBytes => store.add(key, heardBytes(decoded, audio), origin);
    return heardOf(decoded.samples.length, decoded, audio, () => store.find(key) ?? add());
  }
  const make = (media: readonly Uint8Array[]): Iterable<Uint8Array | string> =>
    decodedEach(media, audio);
  const found = { samplingRate, values: length * channels };
  const becomes = Float32Array.BYTES_PER_ELEMENT * Math.ceil((length * audio.samplingRate) / samplingRate); // prettier-ignore
  return heardOf(
    length,
    found,
    audio,
    () =>
      store.find(key) ??
      store.addLater(key, bytes, origin, make, { work: VALUE_WORK * found.values, becomes }),
  );
}

/** Samples at the base's rate, of one channel, or why they cannot be used. They are kept where they lie. */
export function hearSamples(samples: Float32Array, audio: AudioProcessor): Heard | string {
  const { buffer, byteOffset, byteLength } = samples;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const { samplingRate } = audio;
  const { length } = samples;
  return heardOf(length, { samplingRate, values: length }, audio, () => new StoredBytes(() => bytes)); // prettier-ignore
}

/** Decoded now. @param isKept else it is looked at alone */
function readSound(bytes: Uint8Array, audio: AudioProcessor, isKept: boolean): Heard | string {
  const decoded = attempted(() => decodeAudio(bytes));
  if (typeof decoded === 'string') return decoded;
  const stored = (): StoredBytes => {
    const heard = heardBytes(decoded, audio);
    return new StoredBytes(() => heard);
  };
  return heardOf(decoded.samples.length, decoded, audio, isKept ? stored : null);
}

/** One at a time: of long ones each is as large as all else that a run's preparation has. */
function* decodedEach(
  media: readonly Uint8Array[],
  audio: AudioProcessor,
): Generator<Uint8Array | string> {
  for (const bytes of media) yield attempted(() => heardBytes(decodeAudio(bytes), audio));
}

const heardBytes = ({ samples, samplingRate }: Sound, audio: AudioProcessor): Uint8Array => {
  const { buffer, byteOffset, byteLength } = resample(samples, samplingRate, audio.samplingRate);
  return new Uint8Array(buffer, byteOffset, byteLength);
};

function heardOf(
  length: number,
  { samplingRate, values }: Pick<SoundFormat, 'samplingRate'> & Pick<Heard, 'values'>,
  audio: AudioProcessor,
  stored: (() => StoredBytes) | null,
): Heard | string {
  const seconds = length / samplingRate;
  const rows = audio.rows(Math.ceil((length * audio.samplingRate) / samplingRate));
  if (rows === 0) return `the audio has ${seconds.toFixed(3)} s, which is too short for this base`;
  return { seconds, rows, values, sound: stored && new HeardSound(audio, stored()) };
}

function attempted<T>(reading: () => T): T | string {
  try {
    return reading();
  } catch (error) {
    if (error instanceof DomainError) return error.message;
    throw error;
  }
}
