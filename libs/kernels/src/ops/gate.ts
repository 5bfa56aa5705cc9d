import { one } from '../call.js';
import { tidy } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { isOwn } from './instruction-set.js';
import { mul, silu } from './maths.js';

/** silu(gate) ⊙ up (arXiv:2002.05202). Only its two inputs are saved for the backward pass. */
export const siluMul = (gate: Tensor, up: Tensor): Tensor =>
  isOwn(gate) ? one('graft::silu_mul', gate, up) : tidy(() => mul(silu(gate), up));
