/** Images [n, C, H, W]. */
import { one } from '../call.js';
import type { Tensor } from '../tensor.js';

export type Resampling = 'bilinear' | 'bicubic';

/** Resizes with antialiasing, as torchvision does for tensors; u8 stays u8. size: height and width */
export const resizeImage = (
  images: Tensor,
  size: readonly [number, number],
  resampling: Resampling,
): Tensor => one(`aten::_upsample_${resampling}2d_aa`, images, size, false);

export const flip = (t: Tensor, dims: readonly number[]): Tensor => one('aten::flip', t, dims);

/** Resizes without antialiasing, the default of torch.nn.functional.interpolate. f32 */
export const interpolateBicubic = (
  images: Tensor,
  size: readonly [height: number, width: number],
): Tensor => one('aten::upsample_bicubic2d', images, size, false);
