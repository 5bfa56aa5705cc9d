// Decodes audio as soundfile does for transformers: WAV and FLAC, integers divided by 2^(bits − 1), channels
// averaged. The format is detected by the bytes, not by a name.
import { decodeFlac, flacFormat } from './flac.js';
import { undecodable } from './audio-clip.js';
import type { AudioClip, AudioFormat } from './audio-clip.js';
import { decodeWav, wavFormat } from './wav.js';

/**
 * @throws DomainError `invalid_training_file` that states what is wrong with the bytes; the caller adds their
 * origin
 */
export function decodeAudio(bytes: Uint8Array): AudioClip {
  return isWav(bytes) ? decodeWav(bytes) : decodeFlac(bytes);
}

/** Reads the header only; decoding may find further errors. @throws DomainError as `decodeAudio` */
export const audioFormat = (bytes: Uint8Array): AudioFormat =>
  isWav(bytes) ? wavFormat(bytes) : flacFormat(bytes);

/** @throws DomainError if they are neither WAV nor FLAC */
function isWav(bytes: Uint8Array): boolean {
  const kind = kindOf(bytes);
  if (kind !== 'wav' && kind !== 'flac') throw undecodable(`expected WAV or FLAC, got ${kind}`);
  return kind === 'wav';
}

/** Other formats, to name them in the error. */
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
