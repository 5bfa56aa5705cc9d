/** Discrete Fourier transforms: X[f] = Σ_p x[p] exp(-2πi f p / b); the inverse divides by b. Only f32 and c64. */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';

/**
 * Transforms b real numbers along one dimension into b/2 + 1 complex ones; the others are their conjugates.
 * @param n length to truncate or zero-pad to
 */
export const rfft = (t: Tensor, dim = -1, n: number | null = null): Tensor =>
  one('aten::fft_rfft', t, n, dim);
/** Inverse of `rfft`, returning n real numbers. */
export const irfft = (t: Tensor, n: number, dim = -1): Tensor => one('aten::fft_irfft', t, n, dim);
/** Inverse over the last two dimensions. */
export const ifft2 = (t: Tensor): Tensor => one('aten::fft_ifft2', t);
/** Complex conjugate. */
export const conj = (t: Tensor): Tensor => one('aten::_conj_physical', t);
/** Real part, as a view. */
export const real = (t: Tensor): Tensor => one('aten::real', t);
