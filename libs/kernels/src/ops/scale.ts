import { one } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { isOwnOnCpu } from './instruction-set.js';
import { mul } from './maths.js';
import { to } from './shape.js';

/**
 * x ⊙ s over the last dimension, in f32, rounded once to x's dtype. x: [.., n], s: f32 [n]. Only its two inputs are
 * saved for the backward pass.
 */
export const scaleRows = (x: Tensor, s: Tensor): Tensor =>
  isOwnOnCpu(x) && s.dtype === 'f32'
    ? one('graft::scale_rows', x, s)
    : tidy(() => to(mul(x, s), x.dtype));
