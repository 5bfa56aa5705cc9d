/** Matrix products, solvers and decompositions. */
import { many, one } from '../call.js';
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
/** Rows of w: [n,d] at idx (i64 or i32, any shape) */
export const embedding = (w: Tensor, idx: Tensor): Tensor => one('aten::embedding', w, idx);
/** Einstein summation, with one letter per dimension. */
export const einsum = (equation: string, ...ts: readonly Tensor[]): Tensor =>
  one('aten::einsum', equation, ts);
/** Solves A X = B, or X A = B if `left` is false, for batches of square A. */
export const solve = (a: Tensor, b: Tensor, left = true): Tensor =>
  one('aten::linalg_solve', a, b, left);

/** Solves A X = B; returns null if A is singular. */
export function solveIfRegular(a: Tensor, b: Tensor): Tensor | null {
  const [x, info] = many('aten::linalg_solve_ex', a, b) as [Tensor, Tensor];
  return info.item() === 0 ? x : null;
}

/** Inverse of a regular square matrix. */
export const inverse = (a: Tensor): Tensor => one('aten::linalg_inv', a);

/** A = Q R.  A: [m,n], Q: [m,k], R: [k,n], k = min(m,n) */
export function qr(a: Tensor): { q: Tensor; r: Tensor } {
  const [q, r] = many('aten::linalg_qr', a) as [Tensor, Tensor];
  return { q, r };
}

/** A = U diag(S) Vh, S descending.  A: [m,n], U: [m,k], S: [k], Vh: [k,n], k = min(m,n); `whole`: U [m,m], Vh [n,n] */
export function svd(a: Tensor, whole = false): { u: Tensor; s: Tensor; vh: Tensor } {
  const [u, s, vh] = many('aten::linalg_svd', a, whole) as [Tensor, Tensor, Tensor];
  return { u, s, vh };
}

/** A = V diag(L) Vᵀ, L ascending, for a symmetric A [n,n]; only the lower half is read. */
export function eigh(a: Tensor): { values: Tensor; vectors: Tensor } {
  const [values, vectors] = many('aten::linalg_eigh', a) as [Tensor, Tensor];
  return { values, vectors };
}

/** Pseudo-inverse. Singular values below `rtol` (default: max(m,n) · ε) of the largest one count as 0. */
export const pinv = (a: Tensor, rtol: number | null = null): Tensor =>
  one('aten::linalg_pinv.atol_rtol_float', a, null, rtol, false);
