/**
 * Converts images to a model's inputs, like transformers' image processors (those on torchvision, the default
 * of 5.x):
 *
 *   x = (resized(p) - 255 m) / (255 s)      p u8 [3, h, w], x f32 [3, H, W]; m, s mean and deviation of each channel
 *
 * Resizing is antialiased and returns u8, which is stored between steps. With a shorter edge e, the longer
 * one is ⌊e · longer / shorter⌋. A crop is centered, with black around a smaller image.
 */
import {
  contiguous,
  div,
  full,
  mul,
  narrow,
  permute,
  resizeImage,
  sub,
  tensor,
  tidy,
  to,
  view,
  cat,
  type Tensor,
} from '@graft/kernels';
import type { Json } from '../text/tokenizer-files.js';
import { imageOptions, type ImageOptions } from './image-options.js';
import type { Pixels } from './image-files.js';

type Lengths = readonly [height: number, width: number];

export class ImageProcessor {
  readonly options: ImageOptions;
  /** Number of rows of the model for an image. */
  readonly rows: number;

  /**
   * @param inputRows returns the number of rows for an image of a shape
   * @throws DomainError naming the setting of preprocessor_config.json that is not supported
   */
  constructor(config: Json, inputRows: (shape: readonly number[]) => number) {
    this.options = imageOptions(config);
    this.rows = inputRows(this.shape);
  }

  /** Shape of the model's input: channels, height, width. */
  get shape(): readonly [3, number, number] {
    const { crop, resize } = this.options;
    const [height, width] = crop ?? (resize?.size as Lengths);
    return [3, height, width];
  }

  /** Returns u8 [3, H, W] at the model's input size. */
  resized({ width, height, data }: Pixels): Uint8Array {
    return tidy(() => {
      const { resize, crop } = this.options;
      let image = permute(tensor(data, [1, height, width, 3]), [0, 3, 1, 2]);
      if (resize)
        image = resizeImage(
          contiguous(image),
          lengthsOf(resize.size, [height, width]),
          resize.resampling,
        );
      return (crop ? cropped(image, crop) : image).toArray() as Uint8Array;
    });
  }

  /** Returns the model's input, f32 [3, H, W], from the result of `resized`. */
  values(pixels: Uint8Array): Tensor {
    return tidy(() => this.normalized(to(tensor(pixels, this.shape), 'f32')));
  }

  /** Same as `values`, from pixels [3, H, W] in f32, 0 to 255. */
  normalized(image: Tensor): Tensor {
    const { normalize, rescale } = this.options;
    return tidy(() => {
      if (normalize === null) return rescale === 1 ? image : mul(image, rescale);
      // as in transformers: the rescale factor is folded into mean and deviation, in f32
      const channels = (of: readonly number[]): Tensor =>
        view(mul(tensor(of, [3]), 1 / rescale), [3, 1, 1]);
      return div(sub(image, channels(normalize.mean)), channels(normalize.std));
    });
  }
}

function lengthsOf(size: Lengths | number, [height, width]: Lengths): Lengths {
  if (typeof size !== 'number') return size;
  return width <= height
    ? [Math.trunc((size * height) / width), size]
    : [size, Math.trunc((size * width) / height)];
}

/** Center crop of [1, 3, h, w]. */
function cropped(image: Tensor, [height, width]: Lengths): Tensor {
  const padded = within(within(image, 2, height), 3, width);
  return narrow(narrow(padded, 2, ...middle(padded, 2, height)), 3, ...middle(padded, 3, width));
}

const middle = (image: Tensor, dim: number, length: number): [number, number] => [
  Math.trunc(((image.shape[dim] as number) - length) / 2),
  length,
];

/** Pads with zeros on both sides if it is shorter; an odd one is added after. */
function within(image: Tensor, dim: number, length: number): Tensor {
  const lacking = length - (image.shape[dim] as number);
  if (lacking <= 0) return image;
  const zeros = (count: number): Tensor => {
    const shape = [...image.shape];
    shape[dim] = count;
    return full(shape, 0, 'u8', 'cpu');
  };
  const before = Math.floor(lacking / 2);
  return cat([zeros(before), image, zeros(lacking - before)], dim);
}
