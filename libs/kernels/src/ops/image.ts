/** Pictures [n, C, H, W]. */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';

export type Resampling = 'bilinear' | 'bicubic';

/** With antialiasing, as torchvision resizes tensors; u8 stays u8. size: height and width */
export const resizeImage = (
  images: Tensor,
  size: readonly [number, number],
  resampling: Resampling,
): Tensor => one(`aten::_upsample_${resampling}2d_aa`, images, size, false);

export const flip = (t: Tensor, dims: readonly number[]): Tensor => one('aten::flip', t, dims);
