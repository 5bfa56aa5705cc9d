/**
 * Linear layers with the same few input rows, such as query, key and value, in one product: y_i = x W_iᵀ + b_i with the
 * bits of separate calls. On the CPU, in bf16 (native/ops/linears.cpp). No gradients.
 */
import { isGradEnabled } from '../autograd.js';
import { many } from '../call.js';
import { Tensor } from '../tensor.js';
import type { GgmlMatrix } from './ggml.js';
import { isOwnOnCpu } from './instruction-set.js';

/** W [out, in], in bf16 or in GGUF blocks. */
export type LinearsWeight = Tensor | GgmlMatrix;

/** Same value as in native/ops/few_rows.cpp. */
const MOST_ROWS = 24;
const DENSE = -1;

const isBf16 = (t: Tensor): boolean => t.dtype === 'bf16';

/** Whether `linears` supports these arguments. x: [n, in] */
export const hasLinears = (
  x: Tensor,
  weights: readonly LinearsWeight[],
  biases: readonly (Tensor | null)[],
): boolean =>
  isBf16(x) &&
  (x.shape[0] as number) <= MOST_ROWS &&
  isOwnOnCpu(x) &&
  !isGradEnabled() &&
  weights.every((w) => !(w instanceof Tensor) || isBf16(w)) &&
  biases.every((bias) => bias === null || isBf16(bias));

/** y_i [n, out_i] */
export const linears = (
  x: Tensor,
  weights: readonly LinearsWeight[],
  biases: readonly (Tensor | null)[],
): Tensor[] =>
  many(
    'graft::linears',
    x,
    weights.map((w) => (w instanceof Tensor ? w : w.blocks)),
    weights.map((w) => (w instanceof Tensor ? DENSE : w.code)),
    biases,
  );
