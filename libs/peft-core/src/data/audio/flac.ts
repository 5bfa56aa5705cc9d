/**
 * FLAC decoder (RFC 9639), 4 to 24 bits: frames of blocks, in each channel a predictor and a residual,
 *   s[i] = e[i] + ⌊Σ_j c_j s[i − 1 − j] / 2^shift⌋,  e in Rice codes: (q, r) ↦ u = 2^k q + r ↦ u even: u / 2, odd: −(u + 1) / 2
 * The checksum of every frame is verified, and the length in the header. It does not search for the next
 * frame after a broken one: a damaged clip is rejected.
 *
 * Of the npm decoders, libflacjs removes zeros that it mistakes for repetitions, and
 * @wasm-audio-decoders/flac divides by 2^(bits − 1) − 1 and finds no frame in some valid files.
 */
import { BitReader } from './bit-reader.js';
import { checkFormat, mixDown, undecodable } from './audio-clip.js';
import type { AudioClip, AudioFormat } from './audio-clip.js';

interface StreamInfo extends AudioFormat {
  readonly bits: number;
}

const MARKER = 4;
const SYNC = 0x3ffe;
const MAX_BITS = 24;
const SAMPLE_BITS: readonly (number | undefined)[] = [undefined, 8, 12, undefined, 16, 20, 24];
const FIXED: readonly (readonly number[])[] = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]];
const [LEFT_SIDE, SIDE_RIGHT, MID_SIDE] = [8, 9, 10];

/** @throws DomainError `invalid_training_file` */
export const flacFormat = (bytes: Uint8Array): AudioFormat => checked(new BitReader(bytes));

function checked(reader: BitReader): StreamInfo {
  const info = metadata(reader);
  checkFormat(info);
  return info;
}

/** @throws DomainError `invalid_training_file` */
export function decodeFlac(bytes: Uint8Array): AudioClip {
  const reader = new BitReader(bytes);
  const info = checked(reader);
  const blocks: Float32Array[][] = [];
  let length = 0;
  while (reader.remaining > 0 && (info.length === 0 || length < info.length)) {
    const block = frame(reader, info);
    length += block[0]?.length ?? 0;
    checkFormat({ ...info, length });
    blocks.push(block);
  }
  if (length === 0 || (info.length > 0 && length !== info.length))
    throw undecodable(`FLAC: got ${length} samples, the header says ${info.length}`);
  const channels = Array.from({ length: info.channels }, (_, channel) =>
    joined(
      blocks.map((block) => block[channel] ?? new Float32Array()),
      length,
    ),
  );
  return {
    samples: mixDown(channels),
    samplingRate: info.samplingRate,
    values: length * channels.length,
  };
}

/** Reads the first block, STREAMINFO, and skips the others, which do not describe the samples. */
function metadata(reader: BitReader): StreamInfo {
  reader.skip(8 * MARKER);
  let info: StreamInfo | null = null;
  for (let last = 0; last === 0;) {
    last = reader.read(1);
    const type = reader.read(7);
    const end = reader.position + 24 + 8 * reader.peek(24);
    reader.skip(24);
    if (info === null) {
      if (type !== 0) throw undecodable('FLAC: the file does not start with STREAMINFO');
      reader.skip(2 * 16 + 2 * 24);
      const samplingRate = reader.read(20);
      const channels = reader.read(3) + 1;
      const bits = reader.read(5) + 1;
      const length = reader.read(4) * 2 ** 32 + reader.read(32);
      info = { samplingRate, channels, bits, length };
    }
    if (end > reader.end) throw undecodable('FLAC: the file is truncated');
    reader.position = end;
  }
  if (!info || info.bits > MAX_BITS)
    throw undecodable(`FLAC: expected at most ${MAX_BITS} bits per sample, got ${info?.bits}`);
  return info;
}

/** Reads a block's samples of each channel. */
function frame(reader: BitReader, info: StreamInfo): Float32Array[] {
  const begin = reader.position;
  if (reader.read(14) !== SYNC)
    throw undecodable('FLAC: a frame does not start where the previous one ends');
  reader.skip(2);
  const [sizeCode, rateCode, layout] = [reader.read(4), reader.read(4), reader.read(4)];
  const bits = SAMPLE_BITS[reader.read(3)] ?? info.bits;
  reader.skip(1);
  skipNumber(reader);
  const size = blockSize(reader, sizeCode);
  if (rateCode >= 12) reader.skip(rateCode === 12 ? 8 : 16);
  reader.skip(8);
  const channels = layout < LEFT_SIDE ? layout + 1 : 2;
  if (channels !== info.channels || layout > MID_SIDE || bits !== info.bits)
    throw undecodable('FLAC: a frame does not match the header');
  const sides = Array.from({ length: channels }, (_, channel) => {
    const isSide = layout === SIDE_RIGHT ? channel === 0 : layout >= LEFT_SIDE && channel === 1;
    return subframe(reader, size, bits + (isSide ? 1 : 0));
  });
  reader.align();
  const sum = reader.checksum(begin);
  if (reader.read(16) !== sum) throw undecodable('FLAC: a frame has a wrong checksum');
  const scale = 2 ** (1 - bits);
  return unmixed(sides, layout).map((channel) => new Float32Array(channel).map((s) => s * scale));
}

/** Skips the frame or sample number, which is encoded like a UTF-8 character. */
function skipNumber(reader: BitReader): void {
  const first = reader.read(8);
  const ones = Math.clz32(~(first << 24));
  reader.skip(8 * Math.max(0, ones - 1));
}

function blockSize(reader: BitReader, code: number): number {
  if (code === 0) throw undecodable('FLAC: reserved block size');
  if (code === 1) return 192;
  if (code <= 5) return 576 << (code - 2);
  if (code <= 7) return reader.read(code === 6 ? 8 : 16) + 1;
  return 256 << (code - 8);
}

function subframe(reader: BitReader, size: number, width: number): Int32Array {
  reader.skip(1);
  const type = reader.read(6);
  const wasted = reader.read(1) === 1 ? reader.unary() + 1 : 0;
  const bits = width - wasted;
  if (bits < 1) throw undecodable('FLAC: a channel has no bits');
  const samples = new Int32Array(size);
  if (type === 0) samples.fill(reader.signed(bits));
  else if (type === 1) for (let i = 0; i < size; i++) samples[i] = reader.signed(bits);
  else if (type >= 8 && type <= 12) predicted(reader, samples, bits, FIXED[type - 8]);
  else if (type >= 32) predicted(reader, samples, bits, null, type - 31);
  else throw undecodable('FLAC: reserved subframe type');
  return wasted === 0 ? samples : samples.map((s) => s << wasted);
}

/** @param known coefficients of the predictor; null if they are in the frame */
function predicted(
  reader: BitReader,
  samples: Int32Array,
  bits: number,
  known: readonly number[] | null | undefined,
  order = known?.length ?? 0,
): void {
  if (order > samples.length) throw undecodable('FLAC: a predictor is longer than its block');
  for (let i = 0; i < order; i++) samples[i] = reader.signed(bits);
  const precision = known ? 0 : reader.read(4) + 1;
  const shift = known ? 0 : reader.signed(5);
  if (precision === 16 || shift < 0)
    throw undecodable('FLAC: reserved predictor precision or shift');
  const weights = known ?? Array.from({ length: order }, () => reader.signed(precision));
  residuals(reader, samples, order);
  // sums of products of 24-bit samples and 15-bit weights exceed 32 bits
  const divisor = 2 ** shift;
  for (let i = order; i < samples.length; i++) {
    let sum = 0;
    for (let j = 0; j < order; j++) sum += (weights[j] ?? 0) * (samples[i - 1 - j] ?? 0);
    samples[i] = (samples[i] ?? 0) + Math.floor(sum / divisor);
  }
}

function residuals(reader: BitReader, samples: Int32Array, order: number): void {
  const method = reader.read(2);
  if (method > 1) throw undecodable('FLAC: reserved residual coding method');
  const parameterBits = method === 0 ? 4 : 5;
  const parts = 1 << reader.read(4);
  const each = samples.length / parts;
  if (!Number.isInteger(each) || each < order)
    throw undecodable('FLAC: invalid residual partition');
  for (let part = 0, i = order; part < parts; part++) {
    const parameter = reader.read(parameterBits);
    const end = (part + 1) * each;
    if (parameter === (1 << parameterBits) - 1) {
      const bits = reader.read(5);
      for (; i < end; i++) samples[i] = bits === 0 ? 0 : reader.signed(bits);
    } else for (; i < end; i++) samples[i] = reader.rice(parameter);
  }
}

/** Returns the left and right channel of a frame in any stereo layout. */
function unmixed(sides: readonly Int32Array[], layout: number): readonly Int32Array[] {
  const [first, second] = sides;
  if (layout < LEFT_SIDE || !first || !second) return sides;
  const both = (of: (a: number, b: number) => number): Int32Array =>
    first.map((a, i) => of(a, second[i] ?? 0));
  if (layout === LEFT_SIDE) return [first, both((left, side) => left - side)];
  if (layout === SIDE_RIGHT) return [both((side, right) => side + right), second];
  // the last bit of mid is missing; it equals that of side
  const mid = both((a, side) => (a << 1) | (side & 1));
  return [
    mid.map((m, i) => (m + (second[i] ?? 0)) >> 1),
    mid.map((m, i) => (m - (second[i] ?? 0)) >> 1),
  ];
}

function joined(pieces: readonly Float32Array[], length: number): Float32Array {
  const all = new Float32Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
