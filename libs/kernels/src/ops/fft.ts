/** Discrete Fourier transforms: X[f] = Σ_p x[p] exp(-2πi f p / b); the inverse divides by b. f32 and c64 alone. */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';

/**
 * Of real numbers, along one dimension: b of them give b/2 + 1 complex ones, the rest being their conjugates.
 * @param n cut to so many, or filled up with zeros
 */
export const rfft = (t: Tensor, dim = -1, n: number | null = null): Tensor =>
  one('aten::fft_rfft', t, n, dim);
/** The inverse of `rfft`, to n real numbers. */
export const irfft = (t: Tensor, n: number, dim = -1): Tensor => one('aten::fft_irfft', t, n, dim);
/** Inverse over the last two dimensions. */
export const ifft2 = (t: Tensor): Tensor => one('aten::fft_ifft2', t);
/** Complex conjugate. */
export const conj = (t: Tensor): Tensor => one('aten::_conj_physical', t);
/** Real part, as a view. */
export const real = (t: Tensor): Tensor => one('aten::real', t);
