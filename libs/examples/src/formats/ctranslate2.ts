import type { Weights } from './safetensors.js';

const FLOAT16 = 4;
const VERSIONS = [5, 6];

/**
 * Reads the f16 weights of a model.bin of CTranslate2, converted to f32. Skips other dtypes.
 * Layout: version u32, specification, revision u32, count u32, then per variable its name, rank u8, shape u32 each,
 * dtype u8, size u32 and bytes. A string is its length with the final zero (u16) and its bytes. All little-endian.
 * @throws Error if it is not such a file
 */
export function readCTranslate2(file: Buffer): Map<string, Weights> {
  let at = 0;
  const take = (size: number): Buffer => {
    if (at + size > file.length) throw new Error('the CTranslate2 file is truncated');
    at += size;
    return file.subarray(at - size, at);
  };
  const byte = (): number => take(1).readUInt8();
  const long = (): number => take(4).readUInt32LE();
  const text = (): string => take(take(2).readUInt16LE()).toString('utf8').replace(/\0$/, '');
  const version = long();
  if (!VERSIONS.includes(version))
    throw new Error(`expected a CTranslate2 file of version ${VERSIONS.join(' or ')}, got ${version}`); // prettier-ignore
  text();
  long();
  const weights = new Map<string, Weights>();
  const halves = everyHalf();
  for (let left = long(); left > 0; left--) {
    const name = text();
    const shape = Array.from({ length: byte() }, long);
    const dtype = byte();
    const data = take(long());
    if (dtype === FLOAT16) weights.set(name, { shape, data: widened(data, halves) });
  }
  return weights;
}

/** Converts f16 to f32 without loss. */
function widened(data: Buffer, halves: Float32Array): Uint8Array {
  const values = new Float32Array(data.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = halves[data.readUInt16LE(2 * i)] as number;
  return new Uint8Array(values.buffer);
}

/** Values of all f16 numbers by their bits: a sign bit, five exponent bits, ten fraction bits. */
const everyHalf = (): Float32Array =>
  Float32Array.from({ length: 1 << 16 }, (_, bits) => {
    const [exponent, fraction] = [(bits >> 10) & 31, (bits & 1023) / 1024];
    const size = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15);
    return bits >> 15 === 0 ? size : -size;
  });
