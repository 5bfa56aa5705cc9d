/**
 * Canonical signs of singular vectors, whose signs are arbitrary and may differ between processors. If an
 * initialization depends on them, the largest element of each right vector is made positive, as in scikit-learn's
 * svd_flip.
 */
import { abs, argmax, gather, gt, mul, sub, to, transpose } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';

/** Returns vectors with canonical signs. U: [out, k], Vh: [k, in] */
export function canonical(u: Tensor, vh: Tensor): { readonly u: Tensor; readonly vh: Tensor } {
  const largest = gather(vh, 1, argmax(abs(vh), 1, true));
  const signs = sub(mul(to(gt(largest, 0), vh.dtype), 2), 1);
  return { u: mul(u, transpose(signs, 0, 1)), vh: mul(vh, signs) };
}
