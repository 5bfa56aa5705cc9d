// Images of examples: decoded and resized once, and read when a step needs them.
import { createHash } from 'node:crypto';
import { tensor, tidy, toDevice, device, type Tensor } from '@graft/kernels';
import { StoredBytes, type MediaStore, type Origin } from '../media-store.js';
import { augmented, type Augmentation } from './augment.js';
import type { ImageProcessor } from './image-processor.js';
import { decodeImages } from './image-files.js';

/** An image as the base reads it. */
export class StoredImage {
  readonly #image: ImageProcessor;
  readonly #pixels: StoredBytes;

  constructor(image: ImageProcessor, pixels: StoredBytes) {
    this.#image = image;
    this.#pixels = pixels;
  }

  get size(): readonly [height: number, width: number] {
    const [, height, width] = this.#image.shape;
    return [height, width];
  }

  /** Values in f32 [3, H, W], on the model's device. */
  values(augmentation: Augmentation | null): Tensor {
    const image = this.#image;
    const pixels = this.#pixels.read();
    return tidy(() => {
      if (augmentation === null) return toDevice(image.values(pixels), device());
      const { resampling = 'bilinear' } = image.options.resize ?? {};
      const x = augmented(tensor(pixels, image.shape), augmentation, resampling);
      return toDevice(image.normalized(x), device());
    });
  }
}

/** Reads images in order; returns each, or why it cannot be used. */
export function readImages(
  files: readonly Uint8Array[],
  image: ImageProcessor,
): (StoredImage | string)[] {
  return pixelsOf(files, image).map((one) =>
    typeof one === 'string' ? one : new StoredImage(image, new StoredBytes(() => one)),
  );
}

/** Registers images for the store to decode before training; equal images are stored once. */
export function storeImages(
  files: readonly Uint8Array[],
  image: ImageProcessor,
  store: MediaStore,
  origins: readonly Origin[],
): StoredImage[] {
  return files.map((bytes, i) => {
    const key = createHash('sha256').update(bytes).digest('base64');
    const make = (media: readonly Uint8Array[]): (Uint8Array | string)[] => pixelsOf(media, image);
    const [channels, height, width] = image.shape;
    const becomes = channels * height * width;
    const stored = store.find(key) ?? store.addLater(key, bytes, origins[i] as Origin, make, { becomes }); // prettier-ignore
    return new StoredImage(image, stored);
  });
}

/** Pixels in u8, at the model's input size. */
function pixelsOf(files: readonly Uint8Array[], image: ImageProcessor): (Uint8Array | string)[] {
  const found: (Uint8Array | string)[] = [];
  decodeImages(files, (place, one) => {
    found[place] = typeof one === 'string' ? one : image.resized(one);
  });
  return found;
}
