// Reads the bits of a FLAC file, most significant bit first. Bits beyond the end are 0; `read` throws there.
import { undecodable } from './audio-clip.js';

const POLYNOMIAL = 0x8005;
const CHECKSUMS = Uint16Array.from({ length: 256 }, (_, byte) => {
  let sum = byte << 8;
  for (let bit = 0; bit < 8; bit++) sum = ((sum << 1) ^ (sum & 0x8000 ? POLYNOMIAL : 0)) & 0xffff;
  return sum;
});

export class BitReader {
  /** Position in bits. */
  position = 0;
  readonly end: number;

  constructor(private readonly bytes: Uint8Array) {
    this.end = 8 * bytes.length;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  /** Returns 1 to 32 bits without advancing. */
  peek(bits: number): number {
    const at = this.position >>> 3;
    const shift = this.position & 7;
    const { bytes } = this;
    const word =
      ((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0);
    const whole = shift === 0 ? word : (word << shift) | ((bytes[at + 4] ?? 0) >>> (8 - shift));
    return whole >>> (32 - bits);
  }

  /** Reads 1 to 32 bits. */
  read(bits: number): number {
    const value = this.peek(bits);
    this.skip(bits);
    return value;
  }

  /** Reads 1 to 32 bits in two's complement. */
  signed(bits: number): number {
    return (this.read(bits) << (32 - bits)) >> (32 - bits);
  }

  /** Reads zeros up to and including the next one; returns the number of zeros. */
  unary(): number {
    let zeros = 0;
    for (;;) {
      const ahead = Math.clz32(this.peek(32));
      zeros += ahead;
      this.skip(Math.min(ahead + 1, 32));
      if (ahead < 32) return zeros;
    }
  }

  /** Reads a Rice code: zeros, a one, and `parameter` bits, mapped to 0, −1, 1, −2, … */
  rice(parameter: number): number {
    const high = this.unary();
    const folded = parameter === 0 ? high : high * 2 ** parameter + this.read(parameter);
    return folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2;
  }

  skip(bits: number): void {
    this.position += bits;
    if (this.position > this.end) throw undecodable('FLAC: the file is truncated');
  }

  align(): void {
    this.position = (this.position + 7) & ~7;
  }

  /** CRC-16 of the bytes from the bit `begin` to the position. */
  checksum(begin: number): number {
    let sum = 0;
    for (let at = begin >>> 3; at < this.position >>> 3; at++)
      sum = ((sum << 8) ^ (CHECKSUMS[(sum >>> 8) ^ (this.bytes[at] ?? 0)] ?? 0)) & 0xffff;
    return sum;
  }
}
