/**
 * Blocks of numbers as llama.cpp's files have them, made as ggml's reference does, bit for bit; native/ops/ggml.cpp has
 * the formulas, ggml_matrix.cpp products with them.
 */
import { one } from '../call.js';
import type { Dtype } from '../dtype.js';
import type { Tensor } from '../tensor.js';
import { toDevice } from './shape.js';

/** Layouts that are written; `code`: ggml's number, `blockSize`: numbers in a block. */
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
 * @throws KernelError where columns are no multiple of the block's
 */
export const quantizeGgml = (matrix: Tensor, type: GgmlBlocks): Tensor =>
  one('graft::ggml_quantize', toDevice(matrix, 'cpu'), GGML_BLOCKS[type].code);

/** W [out, in] in blocks; every layout of GGML_BLOCKS, Q4_0 and Q4_1. */
export interface GgmlMatrix {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  /** u8 [out, bytes of a row], on the CPU */
  readonly blocks: Tensor;
  /** ggml's number of the layout. */
  readonly code: number;
}

/** W, whole, each number rounded to `dtype` once. */
export const dequantizeGgml = ({ blocks, code }: GgmlMatrix, dtype: Dtype): Tensor =>
  one('graft::ggml_dense', blocks, code, dtype);

/**
 * x Wᵀ + bias in x's dtype; a tile of W is dense at a time, in the backward pass as well.
 * @param x [n, in]
 */
export const linearGgml = (
  x: Tensor,
  { blocks, code }: GgmlMatrix,
  bias: Tensor | null = null,
): Tensor => one('graft::ggml_linear', x, blocks, code, bias);
