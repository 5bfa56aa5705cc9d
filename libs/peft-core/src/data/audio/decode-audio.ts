// A sound's bytes to samples, as soundfile gives them to transformers: WAV and FLAC, whole numbers divided by 2^(bits − 1),
// channels averaged. Which of the two it is, the bytes say and not a name.
import { decodeFlac } from './flac.js';
import { undecodable } from './sound.js';
import type { Sound } from './sound.js';
import { decodeWav } from './wav.js';

/** @throws DomainError `invalid_training_file` that says what is wrong with the bytes; the caller knows whose they are. */
export function decodeAudio(bytes: Uint8Array): Sound {
  const kind = kindOf(bytes);
  if (kind === 'wav') return decodeWav(bytes);
  if (kind === 'flac') return decodeFlac(bytes);
  throw undecodable(`expected WAV or FLAC, got ${kind}`);
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
  if (bytes.length === 0) return 'no bytes';
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1');
  return MAGIC.find(([, at, text]) => head.startsWith(text, at))?.[0] ?? 'bytes of neither';
}
