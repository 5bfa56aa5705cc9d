/** Matrix products. */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';

/** Product over the last two dimensions, broadcast over the others. */
export const matmul = (a: Tensor, b: Tensor): Tensor => one('aten::matmul', a, b);
/** [n,k] · [k,m] */
export const mm = (a: Tensor, b: Tensor): Tensor => one('aten::mm', a, b);
/** [b,n,k] · [b,k,m] */
export const bmm = (a: Tensor, b: Tensor): Tensor => one('aten::bmm', a, b);
/** beta · self + alpha · a b */
export const addmm = (
  self: Tensor,
  a: Tensor,
  b: Tensor,
  { beta = 1, alpha = 1 }: { beta?: number; alpha?: number } = {},
): Tensor => one('aten::addmm', self, a, b, beta, alpha);
/** x Wᵀ + b; W: [out,in] */
export const linear = (x: Tensor, w: Tensor, b: Tensor | null = null): Tensor =>
  one('aten::linear', x, w, b);
export const outer = (a: Tensor, b: Tensor): Tensor => one('aten::outer', a, b);
export const einsum = (equation: string, ...operands: Tensor[]): Tensor =>
  one('aten::einsum', equation, operands);
/** Rows of w: [n,d] at idx (i64 or i32, any shape) */
export const embedding = (w: Tensor, idx: Tensor): Tensor => one('aten::embedding', w, idx);
