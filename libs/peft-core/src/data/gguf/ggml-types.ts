// GGUF's layouts in blocks of 32 values (d, m: one float16 each; q: stored integers):
//   Q8_0  d, 32 signed bytes                        x = d·q
//   Q4_0  d, 16 bytes: low halves are 0…15, high 16…31   x = d·(q − 8)
//   Q4_1  d, m, 16 bytes as in Q4_0                 x = d·q + m
//   Q5_0  d, 4 bytes of fifth bits, 16 bytes as in Q4_0  x = d·(q − 16)
//   Q5_1  d, m, the same                            x = d·q + m
// and plain F32, F16 and BF16; ggml-k-types.ts has the layouts in blocks of 256. Arithmetic is in float32
// with each product and sum rounded, as in ggml. Loads no native code.

import { halfTable } from './float16.js';
import { decodeQ4K, decodeQ5K, decodeQ6K } from './ggml-k-types.js';

export interface GgmlType {
  readonly name: string;
  /** Type number in ggml. */
  readonly code: number;
  /** Values per block, and bytes per block. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Dequantizes `blocks` blocks. */
  readonly decode: (source: Uint8Array, blocks: number, out: Float32Array) => void;
}

const type = (
  code: number,
  name: GgmlType['name'],
  blockSize: number,
  blockBytes: number,
  decode: GgmlType['decode'],
): [number, GgmlType] => [code, { name, code, blockSize, blockBytes, decode }];

const TYPES: ReadonlyMap<number, GgmlType> = new Map([
  type(0, 'F32', 1, 4, decodeF32),
  type(1, 'F16', 1, 2, decodeF16),
  type(2, 'Q4_0', 32, 18, decodeQ40),
  type(3, 'Q4_1', 32, 20, decodeQ41),
  type(6, 'Q5_0', 32, 22, decodeQ50),
  type(7, 'Q5_1', 32, 24, decodeQ51),
  type(8, 'Q8_0', 32, 34, decodeQ80),
  type(12, 'Q4_K', 256, 144, decodeQ4K),
  type(13, 'Q5_K', 256, 176, decodeQ5K),
  type(14, 'Q6_K', 256, 210, decodeQ6K),
  type(30, 'BF16', 1, 2, decodeBf16),
]);

/** Names of the supported layouts, for messages. */
export const ggmlTypeNames = (): string => [...TYPES.values()].map(({ name }) => name).join(', ');

/** Layout by ggml's type number; undefined if Graft does not support it. */
export function ggmlType(code: number): GgmlType | undefined {
  return TYPES.get(code);
}

function decodeF32(source: Uint8Array, blocks: number, out: Float32Array): void {
  new Uint8Array(out.buffer, out.byteOffset, blocks * 4).set(source.subarray(0, blocks * 4));
}

function decodeF16(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0; i < blocks; i++) {
    out[i] = half[(source[2 * i] as number) | ((source[2 * i + 1] as number) << 8)] as number;
  }
}

function decodeBf16(source: Uint8Array, blocks: number, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, blocks);
  for (let i = 0; i < blocks; i++) {
    bits[i] = ((source[2 * i] as number) | ((source[2 * i + 1] as number) << 8)) << 16;
  }
}

function decodeQ80(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += 34, to += 32) {
    const d = half[(source[at] as number) | ((source[at + 1] as number) << 8)] as number;
    // shifting a byte left and right again extends its sign
    for (let i = 0; i < 32; i++) out[to + i] = d * (((source[at + 2 + i] as number) << 24) >> 24);
  }
}

function decodeQ40(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += 18, to += 32) {
    const d = half[(source[at] as number) | ((source[at + 1] as number) << 8)] as number;
    for (let i = 0; i < 16; i++) {
      const q = source[at + 2 + i] as number;
      out[to + i] = d * ((q & 15) - 8);
      out[to + 16 + i] = d * ((q >> 4) - 8);
    }
  }
}

function decodeQ41(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += 20, to += 32) {
    const d = half[(source[at] as number) | ((source[at + 1] as number) << 8)] as number;
    const m = half[(source[at + 2] as number) | ((source[at + 3] as number) << 8)] as number;
    for (let i = 0; i < 16; i++) {
      const q = source[at + 4 + i] as number;
      out[to + i] = Math.fround(d * (q & 15)) + m;
      out[to + 16 + i] = Math.fround(d * (q >> 4)) + m;
    }
  }
}

/**
 * Value i of 32: its low four bits share a byte with those of i ± 16, its fifth is bit i of the word at
 * `high`.
 */
const fifth = (source: Uint8Array, high: number, low: number, i: number): number => {
  const byte = source[low + (i & 15)] as number;
  const bit = ((source[high + (i >> 3)] as number) >> (i & 7)) & 1;
  return (i < 16 ? byte & 15 : byte >> 4) | (bit << 4);
};

function decodeQ50(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += 22, to += 32) {
    const d = half[(source[at] as number) | ((source[at + 1] as number) << 8)] as number;
    for (let i = 0; i < 32; i++) out[to + i] = d * (fifth(source, at + 2, at + 6, i) - 16);
  }
}

function decodeQ51(source: Uint8Array, blocks: number, out: Float32Array): void {
  const half = halfTable();
  for (let b = 0, at = 0, to = 0; b < blocks; b++, at += 24, to += 32) {
    const d = half[(source[at] as number) | ((source[at + 1] as number) << 8)] as number;
    const m = half[(source[at + 2] as number) | ((source[at + 3] as number) << 8)] as number;
    for (let i = 0; i < 32; i++)
      out[to + i] = Math.fround(d * fifth(source, at + 4, at + 8, i)) + m;
  }
}
