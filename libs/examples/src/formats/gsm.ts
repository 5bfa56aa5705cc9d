/**
 * Decoder of GSM 06.10 full rate (ETSI EN 300 961) in Asterisk's files: frames of 33 bytes with 160 samples each. It uses
 * the standard's 16-bit arithmetic, so the samples equal those of every decoder, and the standard's names.
 */

export const GSM_SAMPLING_RATE = 8000;
/** Bytes of a frame. `GSM_SAMPLES` is its number of samples. */
export const GSM_FRAME = 33;
export const GSM_SAMPLES = 160;
const SIGNATURE = 0xd;

const [MIN, MAX] = [-32_768, 32_767];
const add = (a: number, b: number): number => Math.min(MAX, Math.max(MIN, a + b));
const product = (a: number, b: number): number => Math.min(MAX, (a * b + 16_384) >> 15);

/** Decoding of each log area ratio: number of bits, B, minimum and inverse of A (table 4.1). */
const LARS = [
  [6, 0, -32, 13_107],
  [6, 0, -32, 13_107],
  [5, 2048, -16, 13_107],
  [5, -2560, -16, 13_107],
  [4, 94, -8, 19_223],
  [4, -1792, -8, 17_476],
  [3, -341, -4, 31_454],
  [3, -1144, -4, 29_708],
] as const;
/** Gains of the long-term predictor (table 4.3b). */
const QLB = [3277, 11_469, 21_299, 32_767];
/** Normalized mantissas (table 4.6). */
const FAC = [18_431, 20_479, 22_527, 24_575, 26_623, 28_671, 30_719, 32_767];

const SUBFRAME = 40;
const PULSES = 13;
const [SHORTEST_LAG, LONGEST_LAG] = [40, 120];

/** End of each of the four interpolation ranges, and the weight of the previous frame in quarters. */
const INTERPOLATED = [
  [13, 3],
  [27, 2],
  [40, 1],
  [GSM_SAMPLES, 0],
] as const;

/**
 * Decodes a file to samples at 8 kHz.
 * @throws Error if it is not such a file
 */
export function decodeGsm(file: Uint8Array): Int16Array {
  const frames = file.length / GSM_FRAME;
  if (!Number.isInteger(frames)) throw new Error('the GSM file is truncated');
  const decoder = new Decoder();
  const samples = new Int16Array(frames * GSM_SAMPLES);
  for (let i = 0; i < frames; i++)
    samples.set(decoder.frame(file.subarray(i * GSM_FRAME, (i + 1) * GSM_FRAME)), i * GSM_SAMPLES);
  return samples;
}

/** Decoder state that a frame passes to the next one. */
class Decoder {
  /** Past residual, as long as the largest lag. */
  readonly #drp = new Int16Array(LONGEST_LAG + SUBFRAME);
  readonly #v = new Int16Array(LARS.length + 1);
  #lag = SHORTEST_LAG;
  #ratios: readonly number[] = LARS.map(() => 0);
  #msr = 0;

  frame(bytes: Uint8Array): Int16Array {
    const bits = reader(bytes);
    if (bits(4) !== SIGNATURE) throw new Error('not a GSM file');
    const coded = LARS.map(([size]) => bits(size));
    const samples = new Int16Array(GSM_SAMPLES);
    for (let at = 0; at < GSM_SAMPLES; at += SUBFRAME) {
      this.#predict(bits);
      samples.set(this.#drp.subarray(LONGEST_LAG), at);
    }
    this.#synthesise(samples, coded.map(ratio));
    return this.#deemphasised(samples);
  }

  /** Reconstructs a subframe of the residual from its pulses and the residual `lag` samples earlier (5.3.2). */
  #predict(bits: (size: number) => number): void {
    const drp = this.#drp;
    const lag = bits(7);
    if (lag >= SHORTEST_LAG && lag <= LONGEST_LAG) this.#lag = lag;
    const gain = QLB[bits(2)] as number;
    const pulses = pulsesOf(bits);
    drp.copyWithin(0, SUBFRAME);
    for (let k = 0; k < SUBFRAME; k++) {
      const at = LONGEST_LAG + k;
      drp[at] = add(pulses[k] as number, product(gain, drp[at - this.#lag] as number));
    }
  }

  /** Applies the lattice filter of the reflection coefficients in place (5.3.4). */
  #synthesise(samples: Int16Array, ratios: readonly number[]): void {
    const v = this.#v;
    let k = 0;
    for (const [until, quarters] of INTERPOLATED) {
      const rrp = ratios.map((now, i) =>
        reflection(mixed(this.#ratios[i] as number, now, quarters)),
      );
      for (; k < until; k++) {
        let sri = samples[k] as number;
        for (let i = LARS.length - 1; i >= 0; i--) {
          sri = add(sri, -product(rrp[i] as number, v[i] as number));
          v[i + 1] = add(v[i] as number, product(rrp[i] as number, sri));
        }
        v[0] = sri;
        samples[k] = sri;
      }
    }
    this.#ratios = ratios;
  }

  /** De-emphasizes, doubles and truncates the samples to 13 bits (5.3.5 and 5.3.6). */
  #deemphasised(samples: Int16Array): Int16Array {
    return samples.map((sample) => {
      this.#msr = add(sample, product(this.#msr, 28_180));
      return add(this.#msr, this.#msr) & ~7;
    });
  }
}

/** Reader of bit fields, most significant bit first. */
function reader(bytes: Uint8Array): (size: number) => number {
  let at = 0;
  return (size) => {
    let value = 0;
    for (const end = at + size; at < end; at++)
      value = (value << 1) | (((bytes[at >> 3] as number) >> (7 - (at & 7))) & 1);
    return value;
  };
}

/** Decodes thirteen pulses on one of four grids (5.3.1). */
function pulsesOf(bits: (size: number) => number): Int16Array {
  const grid = bits(2);
  const block = bits(6);
  let exponent = block > 15 ? (block >> 3) - 1 : 0;
  let mantissa = block - (exponent << 3);
  if (mantissa === 0) [exponent, mantissa] = [-4, 15];
  for (; mantissa <= 7; exponent--) mantissa = (mantissa << 1) | 1;
  const factor = FAC[mantissa - 8] as number;
  const shift = 6 - exponent;
  const half = (1 << shift) >> 1;
  const pulses = new Int16Array(SUBFRAME);
  for (let i = 0; i < PULSES; i++)
    pulses[grid + 3 * i] = add(product(factor, (2 * bits(3) - 7) << 12), half) >> shift;
  return pulses;
}

/** Decodes a log area ratio (5.3.3). */
function ratio(code: number, i: number): number {
  const [, b, least, inverse] = LARS[i] as (typeof LARS)[number];
  const half = product(inverse, add((code + least) << 10, -2 * b));
  return add(half, half);
}

/** Interpolates a ratio between the previous and this frame, in quarters, with the standard's truncation. */
function mixed(before: number, now: number, quarters: number): number {
  if (quarters === 0) return now;
  if (quarters === 2) return (before >> 1) + (now >> 1);
  const most = quarters === 3 ? before : now;
  return add((before >> 2) + (now >> 2), most >> 1);
}

/** Converts a log area ratio to a reflection coefficient. */
function reflection(ratio: number): number {
  const size = Math.min(MAX, Math.abs(ratio));
  const found = size < 11_059 ? 2 * size : size < 20_070 ? size + 11_059 : add(size >> 2, 26_112);
  return ratio < 0 ? -found : found;
}
