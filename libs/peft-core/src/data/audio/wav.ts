// Decodes WAV with wavefile, which supports RIFF, RIFX and RF64, with A-law and µ-law in addition to plain
// samples. Its scaling of integers differs from libsndfile's, so integers are scaled here.
import wavefile from 'wavefile';
import { checkFormat, mixDown, undecodable } from './audio-clip.js';
import type { AudioClip, AudioFormat } from './audio-clip.js';

/** Divisors of libsndfile by wavefile's bit depth; floats are not scaled. */
const SCALES: ReadonlyMap<string, number> = new Map([
  ['8', 2 ** 7],
  ['16', 2 ** 15],
  ['24', 2 ** 23],
  ['32', 2 ** 31],
  ['32f', 1],
  ['64', 1],
]);

/** A-law and µ-law, which are decoded to 16-bit integers. */
const LAWS = new Set(['8a', '8m']);

/**
 * Chunks that are read. Other chunks (cue points, loops, texts) contain lists whose stated length wavefile
 * would trust: four billion cue points in a hundred bytes.
 */
const SOUND = new Set(['ds64', 'fmt ', 'fact', 'data']);

interface Format {
  readonly numChannels: number;
  readonly sampleRate: number;
}

/** @throws DomainError `invalid_training_file` */
export const wavFormat = (bytes: Uint8Array): AudioFormat => formatOf(read(bytes));

function formatOf(wav: wavefile.WaveFile): AudioFormat {
  const { numChannels: channels, sampleRate: samplingRate } = wav.fmt as Format;
  const { samples: data } = wav.data as { readonly samples: Uint8Array };
  // same as in decoding: a file may state another size of its frames
  const bytes = (Number.parseInt(wav.bitDepth, 10) / 8) * channels;
  const length = Math.floor(data.length / Math.max(bytes, 1));
  const format = { channels, samplingRate, length };
  checkFormat(format);
  if (!SCALES.has(wav.bitDepth) && !LAWS.has(wav.bitDepth))
    throw undecodable(`WAV samples of ${wav.bitDepth} bits are not supported`);
  return format;
}

/** @throws DomainError `invalid_training_file` */
export function decodeWav(bytes: Uint8Array): AudioClip {
  const wav = read(bytes);
  const { samplingRate } = formatOf(wav);
  if (wav.bitDepth === '8a') wav.fromALaw();
  if (wav.bitDepth === '8m') wav.fromMuLaw();
  const scale = SCALES.get(wav.bitDepth) as number;
  const values = attempt(() => wav.getSamples(false) as Float64Array | Float64Array[]);
  const offset = wav.bitDepth === '8' ? 128 : 0;
  const each = (Array.isArray(values) ? values : [values]).map((channel) =>
    new Float32Array(channel.length).map((_, at) => ((channel[at] ?? 0) - offset) / scale),
  );
  const samples = mixDown(each);
  if (samples.length === 0) throw undecodable('the WAV file has no samples');
  if (samples.some((value) => !Number.isFinite(value)))
    throw undecodable('a sample is not a finite number');
  return { samples, samplingRate, values: samples.length * each.length };
}

function read(bytes: Uint8Array): wavefile.WaveFile {
  return attempt(() => {
    const wav = new wavefile.WaveFile();
    wav.fromBuffer(clipOf(bytes));
    return wav;
  });
}

/** Returns the file with only the chunks in SOUND. */
function clipOf(bytes: Uint8Array): Uint8Array {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const isBig = file.toString('latin1', 0, 4) === 'RIFX';
  const parts = [file.subarray(0, 12)];
  for (let at = 12; at + 8 <= file.length;) {
    const size = isBig ? file.readUInt32BE(at + 4) : file.readUInt32LE(at + 4);
    // padded to an even position
    const end = at + 8 + size + (size % 2);
    if (SOUND.has(file.toString('latin1', at, at + 4))) parts.push(file.subarray(at, end));
    at = end;
  }
  return Buffer.concat(parts);
}

function attempt<T>(reading: () => T): T {
  try {
    return reading();
  } catch (error) {
    throw undecodable(`WAV: ${error instanceof Error ? error.message : String(error)}`);
  }
}
