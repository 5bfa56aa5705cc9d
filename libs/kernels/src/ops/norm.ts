import { one } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { isOwn } from './instruction-set.js';
import { add, mean, mul, rsqrt, square } from './maths.js';
import { to } from './shape.js';

/**
 * weight · cast(x · rsqrt(mean(x²) + eps)) over the last dimension. As in Hugging Face's LLaMA, the norm is computed in
 * f32, rounded to x's dtype, and only then scaled. arXiv:1910.07467.
 */
export function rmsNorm(x: Tensor, weight: Tensor | null, eps = 1e-6): Tensor {
  if (isOwn(x)) return one('graft::rms_norm', x, weight, eps);
  return tidy(() => {
    const wide = to(x, 'f32');
    const scaled = mul(wide, rsqrt(add(mean(square(wide), -1, true), eps)));
    const normed = to(scaled, x.dtype);
    return weight ? mul(weight, normed) : normed;
  });
}
