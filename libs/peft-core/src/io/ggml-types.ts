// How GGUF lays out numbers, 32 to a block (d, m: one float16 each; q: stored integers):
//   Q8_0  d, 32 signed bytes                        x = d·q
//   Q4_0  d, 16 bytes: low halves are 0…15, high 16…31   x = d·(q − 8)
//   Q4_1  d, m, 16 bytes as in Q4_0                 x = d·q + m
// and F32, F16, BF16 plainly. Arithmetic is in float32, each product and sum rounded, as ggml does it.
// Native-free.

export interface GgmlType {
  readonly name: 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1';
  /** numbers in a block, and its bytes */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Writes `blocks` blocks as numbers. */
  readonly decode: (source: Uint8Array, blocks: number, out: Float32Array) => void;
}

const type = (
  name: GgmlType['name'],
  blockSize: number,
  blockBytes: number,
  decode: GgmlType['decode'],
): GgmlType => ({ name, blockSize, blockBytes, decode });

const TYPES: ReadonlyMap<number, GgmlType> = new Map([
  [0, type('F32', 1, 4, decodeF32)],
  [1, type('F16', 1, 2, decodeF16)],
  [2, type('Q4_0', 32, 18, decodeQ40)],
  [3, type('Q4_1', 32, 20, decodeQ41)],
  [8, type('Q8_0', 32, 34, decodeQ80)],
  [30, type('BF16', 1, 2, decodeBf16)],
]);

/** The layout with ggml's number; undefined for those Graft does not read. */
export function ggmlType(code: number): GgmlType | undefined {
  return TYPES.get(code);
}

let halves: Float32Array | undefined;

/** float32 values of all 65,536 float16 bit patterns */
function halfTable(): Float32Array {
  if (halves) return halves;
  halves = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) halves[bits] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) halves[bits] = sign * fraction * 2 ** -24;
    else halves[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return halves;
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
    // shifting a byte up and down again gives it its sign
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
