// Power spectra of overlapping frames, computed with libtorch's FFT.
import { abs, matmul, mul, rfft, square, tensor, transpose, unfold } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { MelFilters } from './mel-filters.js';

/** |rfft(frames · window)|² [frames, size / 2 + 1] of frames [frames, n], padded with zeros to `size`. */
export const powers = (frames: Tensor, window: Tensor, size: number): Tensor =>
  square(abs(rfft(mul(frames, window), -1, size)));

/** Frames [⌊(T − length) / hop⌋ + 1, length] of samples [T]. */
export const framed = (samples: Tensor, length: number, hop: number): Tensor =>
  unfold(samples, 0, length, hop);

/** Returns [frames, filters] of powers [frames, bins], in their dtype. */
export const toMel = (spectra: Tensor, { weights, filters, bins }: MelFilters): Tensor =>
  matmul(spectra, transpose(tensor(weights, [filters, bins], spectra.dtype), 0, 1));

/** Hann window, ½ − ½ cos(2πn / N): N is the length if it is periodic, else one less. */
export function hann(length: number, periodic: boolean): Float64Array {
  const period = periodic ? length : length - 1;
  return Float64Array.from({ length }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / period));
}
