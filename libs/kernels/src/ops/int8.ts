/**
 * Matrices with 8 bits per value and one scale per row, as in bitsandbytes' Linear8bitLt:
 *   W_ij = q_ij s_i / 127      s_i = max_j |W_ij|
 * Unlike LLM.int8(), x is not rounded and no outliers are split off. Products: native/ops/int8_matrix.cpp.
 */
import { one } from '../call.js';
import type { Dtype } from '../dtype.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { abs, amax, mul } from './maths.js';
import { to, unsqueeze } from './shape.js';

export interface Int8Matrix {
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  /** i8 [out, in] */
  readonly numbers: Tensor;
  /** f32 [out] */
  readonly scales: Tensor;
}

/** Packs W [out, in] as bitsandbytes does after converting it to f16. */
export function quantizeInt8(matrix: Tensor): Int8Matrix {
  const shape = matrix.shape as [number, number];
  return tidy(() => {
    const half = to(to(matrix, 'f16'), 'f32');
    const scales = amax(abs(half), 1);
    // as torch divides a number by a tensor; a row of zeros gives NaN
    const scaled = mul(half, unsqueeze(mul(one('aten::reciprocal', scales), 127), 1));
    const numbers = to(one('aten::round', one('aten::nan_to_num', scaled, 0)), 'i8');
    return { shape, numbers, scales };
  });
}

/** Dequantizes all of W. */
export const dequantizeInt8 = ({ numbers, scales }: Int8Matrix, dtype: Dtype): Tensor =>
  one('graft::int8_dense', numbers, scales, dtype);

/**
 * x Wᵀ + bias in x's dtype. Only a tile of W is dense at a time, also in the backward pass.
 * @param x [n, in]
 */
export const linearInt8 = (
  x: Tensor,
  { numbers, scales }: Int8Matrix,
  bias: Tensor | null = null,
): Tensor => one('graft::int8_linear', x, numbers, scales, bias);
