/**
 * Random augmentation of images, different in each epoch, after torchvision's transforms. x: pixels [3, h,
 * w], 0 to 255.
 *
 *   crop     a window of a share a ~ U(s, 1) of the area and an aspect ratio r, log r ~ U(log 3/4, log 4/3), at a uniform
 *            position; resized to the full size (RandomResizedCrop; the whole image if ten windows do not fit)
 *   flip     horizontal, with probability 1/2
 *   jitter   f ~ U(1 - c, 1 + c) each:  brightness b x,  contrast k x + (1 - k) mean(g),  saturation t x + (1 - t) g,
 *            one after another, each clamped to 0 … 255;  g = 0.2989 R + 0.587 G + 0.114 B
 *
 * The random numbers depend only on the run's seed, the epoch and the example's index.
 */
import {
  add,
  clamp,
  flip,
  mean,
  mul,
  narrow,
  resizeImage,
  sum,
  tensor,
  tidy,
  to,
  unsqueeze,
  squeeze,
  type Resampling,
  type Tensor,
} from '@graft/kernels';
import { z } from 'zod';
import { draws, type DrawKey } from '../permutation.js';

export const augmentationOptions = {
  random_flip: z
    .boolean()
    .default(false)
    .describe('Flip half of the images horizontally, chosen again in each epoch'),
  random_crop: z
    .number()
    .min(0.05)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      'Train on random crops with at least this share of the image, drawn again in each epoch. Default: whole images',
    ),
  color_jitter: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      'Change brightness, contrast and saturation by up to this share, drawn again in each epoch. Default: no change',
    ),
};

interface AugmentationOptions {
  readonly random_flip: boolean;
  readonly random_crop: number | null;
  readonly color_jitter: number | null;
}

type Window = readonly [top: number, left: number, height: number, width: number];

export interface Augmentation {
  readonly crop: Window | null;
  readonly flips: boolean;
  /** Factors of brightness, contrast and saturation. */
  readonly jitter: readonly [number, number, number] | null;
}

const RATIOS = [3 / 4, 4 / 3] as const;
const TRIES = 10;
/** Weights of red, green and blue. */
const GREY = [0.2989, 0.587, 0.114];

/** Draws the augmentation of an example; null if none is requested. @param size height and width */
export function drawn(
  options: AugmentationOptions,
  key: DrawKey,
  size: readonly [number, number],
): Augmentation | null {
  const { random_flip: flips, random_crop: least, color_jitter: most } = options;
  if (!flips && least === null && most === null) return null;
  const next = draws(key);
  // always the same number of draws, so that one option does not change those of another
  const isTurned = next() < 0.5;
  const factor = (by: number): number => 1 + (most ?? 0) * (2 * by - 1);
  const jitter = [factor(next()), factor(next()), factor(next())] as const;
  return {
    flips: flips && isTurned,
    jitter: most === null ? null : jitter,
    crop: least === null ? null : windowOf(least, size, next),
  };
}

function windowOf(least: number, [h, w]: readonly [number, number], next: () => number): Window {
  const [low, high] = RATIOS.map(Math.log) as [number, number];
  for (let i = 0; i < TRIES; i++) {
    const area = (least + (1 - least) * next()) * h * w;
    const ratio = Math.exp(low + (high - low) * next());
    const [width, height] = [Math.sqrt(area * ratio), Math.sqrt(area / ratio)].map(Math.round) as [
      number,
      number,
    ];
    if (width < 1 || height < 1 || width > w || height > h) continue;
    const place = (most: number): number => Math.min(most, Math.floor(next() * (most + 1)));
    return [place(h - height), place(w - width), height, width];
  }
  return [0, 0, h, w];
}

/** f32 [3, h, w], 0 to 255. @param image u8 [3, h, w] */
export function augmented(
  image: Tensor,
  { crop, flips, jitter }: Augmentation,
  resampling: Resampling,
): Tensor {
  return tidy(() => {
    const [, h, w] = image.shape as [number, number, number];
    let x = image;
    if (crop) {
      const [top, left, height, width] = crop;
      const window = narrow(narrow(x, 1, top, height), 2, left, width);
      x = squeeze(resizeImage(unsqueeze(window, 0), [h, w], resampling), 0);
    }
    if (flips) x = flip(x, [2]);
    const values = to(x, 'f32');
    return jitter ? jittered(values, jitter) : values;
  });
}

function jittered(x: Tensor, [b, k, t]: readonly [number, number, number]): Tensor {
  const held = (of: Tensor): Tensor => clamp(of, 0, 255);
  const grey = (of: Tensor): Tensor => sum(mul(of, tensor(GREY, [3, 1, 1])), [0], true);
  const bright = held(mul(x, b));
  const contrast = held(add(mul(bright, k), mul(mean(grey(bright)), 1 - k)));
  return held(add(mul(contrast, t), mul(grey(contrast), 1 - t)));
}
