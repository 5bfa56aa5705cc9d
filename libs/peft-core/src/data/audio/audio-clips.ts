// Audio clips of examples: decoded and resampled to the base's rate once, before training and between the
// turns of other runs, and read when a step needs them.
import { createHash } from 'node:crypto';
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { StoredBytes, type MediaStore, type Origin } from '../media-store.js';
import type { AudioProcessor } from './audio-processor.js';
import { audioFormat, decodeAudio } from './decode-audio.js';
import { resample } from './resample.js';
import { audioTooLong, type AudioClip, type AudioFormat } from './audio-clip.js';

/** An audio clip as the base reads it. */
export class StoredClip {
  readonly #audio: AudioProcessor;
  readonly #samples: StoredBytes;

  constructor(audio: AudioProcessor, samples: StoredBytes) {
    this.#audio = audio;
    this.#samples = samples;
  }

  /** Features in f32, on the model's device. */
  features(): Tensor {
    const { buffer, byteOffset, byteLength } = this.#samples.read();
    const bytes = buffer.slice(byteOffset, byteOffset + byteLength);
    return this.#audio.features(new Float32Array(bytes));
  }
}

/** Facts of a usable audio clip. */
export interface ClipFacts {
  readonly seconds: number;
  /** Number of rows in the base. */
  readonly rows: number;
  /** Number of decoded values in all channels. */
  readonly values: number;
  /** The stored clip; null if it was only checked. */
  readonly clip: StoredClip | null;
}

/** Work per value, in bytes of images: a batch has half a million values, about 0.25 s of work. */
const VALUE_WORK = 16;

/** Store that decodes clips before training, and the position of each clip in its file. */
interface Keeping {
  readonly store: MediaStore;
  readonly origins: readonly Origin[];
}

/**
 * Reads audio clips in order. Returns the facts of each, or why it cannot be used.
 * @param keeping where to store them; null stores them in memory, undefined only checks them
 * @param most maximum number of decoded values of all clips, because other requests may wait
 * @throws DomainError if they have more
 */
export function readClips(
  files: readonly Uint8Array[],
  audio: AudioProcessor,
  keeping: Keeping | null | undefined,
  most = Infinity,
): (ClipFacts | string)[] {
  let values = 0;
  const found = new Map<string, ClipFacts | string>();
  return files.map((bytes, i) => {
    const key = createHash('sha256').update(bytes).digest('base64');
    const known = found.get(key);
    if (known !== undefined) return known;
    const facts = keeping
      ? storeClip(bytes, key, audio, keeping.store, keeping.origins[i] as Origin)
      : readClip(bytes, audio, keeping === null);
    found.set(key, facts);
    if (typeof facts !== 'string') values += facts.values;
    if (values > most) throw audioTooLong();
    return facts;
  });
}

/** Reads the header of a clip; the store decodes it before training, or now if the header has no length. */
function storeClip(
  bytes: Uint8Array,
  key: string,
  audio: AudioProcessor,
  store: MediaStore,
  origin: Origin,
): ClipFacts | string {
  const format = attempted(() => audioFormat(bytes));
  if (typeof format === 'string') return format;
  const { length, samplingRate, channels } = format;
  if (length === 0) {
    const decoded = attempted(() => decodeAudio(bytes));
    if (typeof decoded === 'string') return decoded;
    const add = (): StoredBytes => store.add(key, resampledBytes(decoded, audio), origin);
    return factsOf(decoded.samples.length, decoded, audio, () => store.find(key) ?? add());
  }
  const make = (media: readonly Uint8Array[]): Iterable<Uint8Array | string> =>
    decodedEach(media, audio);
  const found = { samplingRate, values: length * channels };
  const becomes = Float32Array.BYTES_PER_ELEMENT * Math.ceil((length * audio.samplingRate) / samplingRate); // prettier-ignore
  return factsOf(
    length,
    found,
    audio,
    () =>
      store.find(key) ??
      store.addLater(key, bytes, origin, make, { work: VALUE_WORK * found.values, becomes }),
  );
}

/**
 * Reads samples of one channel at the base's rate, or returns why they cannot be used. They are not copied.
 */
export function readSamples(samples: Float32Array, audio: AudioProcessor): ClipFacts | string {
  const { buffer, byteOffset, byteLength } = samples;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const { samplingRate } = audio;
  const { length } = samples;
  return factsOf(length, { samplingRate, values: length }, audio, () => new StoredBytes(() => bytes)); // prettier-ignore
}

/** Decodes a clip now. @param isKept whether to store it or only check it */
function readClip(bytes: Uint8Array, audio: AudioProcessor, isKept: boolean): ClipFacts | string {
  const decoded = attempted(() => decodeAudio(bytes));
  if (typeof decoded === 'string') return decoded;
  const stored = (): StoredBytes => {
    const facts = resampledBytes(decoded, audio);
    return new StoredBytes(() => facts);
  };
  return factsOf(decoded.samples.length, decoded, audio, isKept ? stored : null);
}

/** Decodes clips one at a time: a long one is as large as all else that preparing a run needs. */
function* decodedEach(
  media: readonly Uint8Array[],
  audio: AudioProcessor,
): Generator<Uint8Array | string> {
  for (const bytes of media) yield attempted(() => resampledBytes(decodeAudio(bytes), audio));
}

const resampledBytes = (
  { samples, samplingRate }: AudioClip,
  audio: AudioProcessor,
): Uint8Array => {
  const { buffer, byteOffset, byteLength } = resample(samples, samplingRate, audio.samplingRate);
  return new Uint8Array(buffer, byteOffset, byteLength);
};

function factsOf(
  length: number,
  { samplingRate, values }: Pick<AudioFormat, 'samplingRate'> & Pick<ClipFacts, 'values'>,
  audio: AudioProcessor,
  stored: (() => StoredBytes) | null,
): ClipFacts | string {
  const seconds = length / samplingRate;
  const rows = audio.rows(Math.ceil((length * audio.samplingRate) / samplingRate));
  if (rows === 0) return `the audio has ${seconds.toFixed(3)} s, which is too short for this base`;
  return { seconds, rows, values, clip: stored && new StoredClip(audio, stored()) };
}

function attempted<T>(reading: () => T): T | string {
  try {
    return reading();
  } catch (error) {
    if (error instanceof DomainError) return error.message;
    throw error;
  }
}
