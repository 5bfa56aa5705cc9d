// A sound's bytes to samples, as soundfile gives them to transformers: WAV and FLAC, whole numbers divided by 2^(bits − 1),
// channels averaged. Which of the two it is, the bytes say and not a name.
import { decodeFlac, flacFormat } from './flac.js';
import { undecodable } from './sound.js';
import type { Sound, SoundFormat } from './sound.js';
import { decodeWav, wavFormat } from './wav.js';

/** @throws DomainError `invalid_training_file` that says what is wrong with the bytes; the caller knows whose they are. */
export function decodeAudio(bytes: Uint8Array): Sound {
  return isWav(bytes) ? decodeWav(bytes) : decodeFlac(bytes);
}

/** What the file says of its sound; what is wrong behind that, decoding finds. @throws DomainError as `decodeAudio` */
export const audioFormat = (bytes: Uint8Array): SoundFormat =>
  isWav(bytes) ? wavFormat(bytes) : flacFormat(bytes);

/** @throws DomainError where they are neither WAV nor FLAC */
function isWav(bytes: Uint8Array): boolean {
  const kind = kindOf(bytes);
  if (kind !== 'wav' && kind !== 'flac') throw undecodable(`expected WAV or FLAC, got ${kind}`);
  return kind === 'wav';
}

/** Other kinds are named, so that whoever has one knows what to convert. */
const MAGIC: readonly (readonly [kind: string, at: number, text: string])[] = [
  ['wav', 8, 'WAVE'],
  ['flac', 0, 'fLaC'],
  ['Ogg', 0, 'OggS'],
  ['MP3', 0, 'ID3'],
  ['MP3', 0, '\xff\xfb'],
  ['MP3', 0, '\xff\xf3'],
  ['AIFF', 8, 'AIFF'],
  ['AIFF', 8, 'AIFC'],
  ['AAC', 0, '\xff\xf1'],
  ['an MP4 file', 4, 'ftyp'],
  ['WebM or Matroska', 0, '\x1a\x45\xdf\xa3'],
];

function kindOf(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file';
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1');
  return MAGIC.find(([, at, text]) => head.startsWith(text, at))?.[0] ?? 'an unknown format';
}
