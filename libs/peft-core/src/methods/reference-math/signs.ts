/**
 * Singular vectors have a sign that is anybody's choice, and another processor may choose the other one. Where a start
 * does not come to the same with both, the largest number of each right vector is positive, as scikit-learn's svd_flip
 * has it.
 */
import { abs, argmax, gather, gt, mul, sub, to, transpose } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';

/** U: [out, k], Vh: [k, in] */
export function canonical(u: Tensor, vh: Tensor): { readonly u: Tensor; readonly vh: Tensor } {
  const largest = gather(vh, 1, argmax(abs(vh), 1, true));
  const signs = sub(mul(to(gt(largest, 0), vh.dtype), 2), 1);
  return { u: mul(u, transpose(signs, 0, 1)), vh: mul(vh, signs) };
}
