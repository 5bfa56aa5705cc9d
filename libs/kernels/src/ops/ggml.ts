/**
 * Quantizes to llama.cpp's blocks as ggml's reference does, bit for bit. Formulas: native/ops/ggml.cpp; products:
 * ggml_matrix.cpp.
 */
import { one } from '../call.js';
import type { Dtype } from '../dtype.js';
import type { Tensor } from '../tensor.js';
import { toDevice } from './shape.js';

/** Writable layouts. `code`: ggml's type number, `blockSize`: values per block. */
export const GGML_BLOCKS = {
  Q5_0: { code: 6, blockSize: 32, blockBytes: 22 },
  Q5_1: { code: 7, blockSize: 32, blockBytes: 24 },
  Q8_0: { code: 8, blockSize: 32, blockBytes: 34 },
  Q4_K: { code: 12, blockSize: 256, blockBytes: 144 },
  Q5_K: { code: 13, blockSize: 256, blockBytes: 176 },
  Q6_K: { code: 14, blockSize: 256, blockBytes: 210 },
} as const;
export type GgmlBlocks = keyof typeof GGML_BLOCKS;

/**
 * Packs each row of W [rows, columns] (f32) without an importance matrix: u8 [rows, columns / blockSize · blockBytes].
 * @throws KernelError if columns are not a multiple of the block size
 */
export const quantizeGgml = (matrix: Tensor, type: GgmlBlocks): Tensor =>
  one('graft::ggml_quantize', toDevice(matrix, 'cpu'), GGML_BLOCKS[type].code);

/** W [out, in] in blocks: every layout of GGML_BLOCKS, Q4_0 and Q4_1. */
export interface GgmlMatrix {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  /** u8 [out, bytes per row], on the CPU */
  readonly blocks: Tensor;
  /** ggml's type number of the layout. */
  readonly code: number;
}

/** Dequantizes all of W, each value rounded to `dtype` once. */
export const dequantizeGgml = ({ blocks, code }: GgmlMatrix, dtype: Dtype): Tensor =>
  one('graft::ggml_dense', blocks, code, dtype);

/**
 * x Wᵀ + bias in x's dtype. Only a tile of W is dense at a time, also in the backward pass.
 * @param x [n, in]
 */
export const linearGgml = (
  x: Tensor,
  { blocks, code }: GgmlMatrix,
  bias: Tensor | null = null,
): Tensor => one('graft::ggml_linear', x, blocks, code, bias);
