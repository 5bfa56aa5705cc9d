/**
 * NF4 in bitsandbytes' layout (arXiv:2305.14314): a matrix W [out, in] as 4-bit values, blocks of which share a scale.
 *   W_i = code[q_i] absmax[i div blocksize]      i counts row by row over the whole matrix
 * If quantized twice, the scales are bytes as well:
 *   absmax[b] = nested.code[a_b] nested.absmax[b div nested.blocksize] + nested.offset
 * native/ops/nf4.cpp has the bit layout, and the composition for other dtypes and for devices without a kernel.
 */
import { many, one } from '../call.js';
import type { Dtype } from '../dtype.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { tensor, zeros } from './creation.js';
import { abs, add, amax, div, mean, sub } from './maths.js';
import { cat, narrow, reshape, to, toDevice, unsqueeze, view } from './shape.js';

/** Meaning of the four bits: quantiles of a normal distribution, or floats. */
export type FourBitCode = 'nf4' | 'fp4';

export interface Nf4Matrix {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  readonly blocksize: number;
  /** Default: nf4. */
  readonly code?: FourBitCode;
  /** u8 [⌈out · in / 2⌉], the first of two values in the upper half of their byte */
  readonly numbers: Tensor;
  /** Scale of each block: f32, or u8 if `nested` defines the bytes. */
  readonly absmax: Tensor;
  readonly nested: NestedAbsmax | null;
}

export interface NestedAbsmax {
  readonly blocksize: number;
  /** f32, one per block of blocks */
  readonly absmax: Tensor;
  /** f32 [256], ascending */
  readonly code: Tensor;
  readonly offset: number;
}

const NESTED_BLOCKSIZE = 256;

export interface FourBitOptions {
  readonly blocksize?: number;
  readonly doubleQuant?: boolean;
  readonly code?: FourBitCode;
}

/**
 * Packs W [out, in] (f32, bf16 or f16) as bitsandbytes' `quantize_4bit` does. `doubleQuant` also quantizes the scales.
 */
export function quantizeNf4(
  matrix: Tensor,
  { blocksize = 64, doubleQuant = true, code = 'nf4' }: FourBitOptions = {},
): Nf4Matrix {
  const shape = matrix.shape as [number, number];
  return tidy(() => {
    const onCpu = toDevice(matrix, 'cpu');
    const isFp4 = code === 'fp4';
    const packed = many('graft::nf4_quantize', onCpu, blocksize, isFp4) as [Tensor, Tensor];
    const [numbers, scales] = packed;
    const home = (t: Tensor): Tensor => toDevice(t, matrix.device);
    if (!doubleQuant)
      return { shape, blocksize, code, numbers: home(numbers), absmax: home(scales), nested: null };
    const offset = mean(scales).item();
    const { codes, absmax, code: steps } = quantizeDynamic(sub(scales, offset));
    const nested = { blocksize: NESTED_BLOCKSIZE, absmax: home(absmax), code: home(steps), offset };
    return { shape, blocksize, code, numbers: home(numbers), absmax: home(codes), nested };
  });
}

/** Quantizes x [n] on the CPU to the nearest of 256 values times its block's absmax, as `quantize_blockwise` does. */
function quantizeDynamic(x: Tensor): { codes: Tensor; absmax: Tensor; code: Tensor } {
  const count = x.size;
  const blocks = Math.ceil(count / NESTED_BLOCKSIZE);
  const missing = blocks * NESTED_BLOCKSIZE - count;
  const padded = missing > 0 ? cat([x, zeros([missing], 'f32', 'cpu')]) : x;
  const blocked = view(padded, [blocks, NESTED_BLOCKSIZE]);
  const absmax = amax(abs(blocked), 1);
  const code = dynamicMap();
  const middles = div(add(narrow(code, 0, 0, 255), narrow(code, 0, 1, 255)), 2);
  // a block of zeros gives NaN, for which bitsandbytes' search returns the first value
  const scaled = one('aten::nan_to_num', div(blocked, unsqueeze(absmax, 1)), -1);
  const found = one('aten::bucketize.Tensor', scaled, middles, true);
  return { codes: narrow(reshape(to(found, 'u8'), [-1]), 0, 0, count), absmax, code };
}

/**
 * Signed 8-bit "dynamic" values of arXiv:1511.04561 in ascending order, as in bitsandbytes' `create_dynamic_map`: f32
 * [256]. torch.linspace rounds `start + step * i` once if the processor has FMA and twice otherwise. This function
 * always rounds once, so that a matrix is packed to the same bytes on every processor.
 */
function dynamicMap(): Tensor {
  const EXPONENTS = 7;
  const positive = Array.from({ length: EXPONENTS }, (_, i) => {
    const n = 2 ** i;
    const scale = Math.fround(10 ** (i - EXPONENTS + 1));
    const edges = linspace(0.1, 1, n + 1);
    const middles = edges.slice(1).map((edge, k) => (edge + (edges[k] as number)) / 2);
    return [...middles.map((middle) => middle * scale)];
  }).flat();
  const all = Float32Array.from([...positive, ...positive.map((value) => -value), 0, 1]);
  return tensor(all.sort(), [all.length]);
}

/** Returns `steps` f32 numbers from `start` to `end`, as torch.linspace does on a processor with FMA. */
function linspace(start: number, end: number, steps: number): Float32Array {
  const first = Math.fround(start);
  const step = Math.fround(Math.fround(end - first) / (steps - 1));
  return Float32Array.from({ length: steps }, (_, i) =>
    i < Math.floor(steps / 2) ? first + step * i : end - step * (steps - 1 - i),
  );
}

const parts = ({ numbers, absmax, nested, blocksize }: Nf4Matrix) =>
  [
    numbers,
    absmax,
    nested?.absmax ?? null,
    nested?.code ?? null,
    nested?.offset ?? 0,
    blocksize,
    nested?.blocksize ?? NESTED_BLOCKSIZE,
  ] as const;

/** Dequantizes all of W. `composed` uses libtorch's operators on the CPU, too (tests compare them). */
export const dequantizeNf4 = (w: Nf4Matrix, dtype: Dtype, composed = false): Tensor =>
  one('graft::nf4_dequantize', ...parts(w), w.shape, w.code === 'fp4', dtype, composed);

/**
 * x Wᵀ + bias in x's dtype. Only a panel of W is dense at a time, also in the backward pass.
 * @param x [n, in]
 */
export const linearNf4 = (x: Tensor, w: Nf4Matrix, bias: Tensor | null = null): Tensor =>
  one('graft::nf4_linear', x, ...parts(w), w.shape, w.code === 'fp4', bias);
