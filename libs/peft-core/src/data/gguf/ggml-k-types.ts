// GGUF's layouts in blocks of 256 values, whose scales are quantized (d, m: float16; s, t: 6 or 8 bits):
//   Q4_K  d, m, 12 bytes of eight s and t, 128 bytes                        x = (d·s)·q − (m·t), 32 values per scale
//   Q5_K  d, m, 12 bytes of eight s and t, 32 bytes of fifth bits, 128 bytes     the same
//   Q6_K  128 bytes of low halves, 64 of fifth and sixth bits, 16 s, d      x = (d·s)·(q − 32), 16 values per scale
// Arithmetic is in float32 with each product and difference rounded, as in ggml. Loads no native code.
import { halfTable } from './float16.js';

const f = Math.fround;

/**
 * Returns the scale and offset of a group of 32: 6 bits each, packed in 12 bytes; for the last four groups in
 * two parts.
 */
function scalesAt(source: Uint8Array, at: number, group: number): [scale: number, offset: number] {
  const byte = (i: number): number => source[at + i] as number;
  if (group < 4) return [byte(group) & 63, byte(group + 4) & 63];
  const both = byte(group + 4);
  return [(both & 15) | ((byte(group - 4) >> 6) << 4), (both >> 4) | ((byte(group) >> 6) << 4)];
}

/** @param highAt offset of the fifth bits in a block, if it has any */
function decodeWithOffsets(
  source: Uint8Array,
  blocks: number,
  out: Float32Array,
  { bytes, highAt, lowAt }: { bytes: number; highAt: number | null; lowAt: number },
): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += bytes, to += 256) {
    const d = half[(source[at] as number) | ((source[at + 1] as number) << 8)] as number;
    const m = half[(source[at + 2] as number) | ((source[at + 3] as number) << 8)] as number;
    for (let group = 0; group < 8; group++) {
      const [scale, offset] = scalesAt(source, at + 4, group);
      const [ds, mt] = [f(d * scale), f(m * offset)];
      const low = at + lowAt + (group >> 1) * 32;
      for (let i = 0; i < 32; i++) {
        const byte = source[low + i] as number;
        const four = group & 1 ? byte >> 4 : byte & 15;
        const fifth = highAt === null ? 0 : ((source[at + highAt + i] as number) >> group) & 1;
        out[to + 32 * group + i] = f(ds * (four | (fifth << 4))) - mt;
      }
    }
  }
}

export const decodeQ4K = (source: Uint8Array, blocks: number, out: Float32Array): void =>
  decodeWithOffsets(source, blocks, out, { bytes: 144, highAt: null, lowAt: 16 });

export const decodeQ5K = (source: Uint8Array, blocks: number, out: Float32Array): void =>
  decodeWithOffsets(source, blocks, out, { bytes: 176, highAt: 16, lowAt: 48 });

export function decodeQ6K(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += 210, to += 256) {
    const d = half[(source[at + 208] as number) | ((source[at + 209] as number) << 8)] as number;
    for (let i = 0; i < 256; i++) {
      // halves of 128 values; in each, 32 values share their bytes with those 64 positions later
      const [part, quarter, place] = [i >> 7, (i >> 5) & 3, i & 31];
      const low = source[at + 64 * part + 32 * (quarter & 1) + place] as number;
      const high = source[at + 128 + 32 * part + place] as number;
      const q = (quarter < 2 ? low & 15 : low >> 4) | (((high >> (2 * quarter)) & 3) << 4);
      const scale = ((source[at + 192 + (i >> 4)] as number) << 24) >> 24;
      out[to + i] = f(d * scale) * (q - 32);
    }
  }
}
