import { one } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { addcmul_ } from './in-place.js';
import { isOwn } from './instruction-set.js';
import { mul } from './maths.js';

/**
 * x ⊙ cos + [x₂ ; x₁] ⊙ sin, x = [x₁ ; x₂]: rotary position embeddings in halves, arXiv:2104.09864.
 * @param x [rows, heads, d]
 * @param cos [rows, 1, d] in x's dtype
 * @param sin same shape, with its first half negated
 */
export const rotary = (x: Tensor, cos: Tensor, sin: Tensor): Tensor =>
  isOwn(x)
    ? one('graft::rotary', x, cos, sin)
    : tidy(() => addcmul_(mul(x, cos), one('aten::roll', x, (x.shape[2] as number) / 2, 2), sin));
