// The pictures of examples: decoded and resized once, and read when a step wants them.
import { createHash } from 'node:crypto';
import { tensor, tidy, toDevice, device, type Tensor } from '@graft/kernels';
import { StoredBytes, type MediaStore } from '../media-store.js';
import { augmented, type Augmentation } from './augment.js';
import type { ImageProcessor } from './image-processor.js';
import { decodePictures } from './picture-files.js';

/** One as its base reads it. */
export class Picture {
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

  /** f32 [3, H, W], where the model computes. */
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

/** Of each picture, in order, what is kept of it, or why it cannot be used. @param store null: they are kept in memory */
export function readPictures(
  files: readonly Uint8Array[],
  image: ImageProcessor,
  store: MediaStore | null,
): (Picture | string)[] {
  const keys = files.map((bytes) => createHash('sha256').update(bytes).digest('base64'));
  const found = new Map<string, StoredBytes | string>();
  const missing: number[] = [];
  for (const [i, key] of keys.entries()) {
    const stored = store?.find(key);
    if (stored) found.set(key, stored);
    else if (!found.has(key)) {
      found.set(key, '');
      missing.push(i);
    }
  }
  decodePictures(
    missing.map((i) => files[i] as Uint8Array),
    (place, one) => {
      const key = keys[missing[place] as number] as string;
      if (typeof one === 'string') return void found.set(key, one);
      const pixels = image.resized(one);
      found.set(key, store ? store.add(key, pixels) : new StoredBytes(() => pixels));
    },
  );
  return keys.map((key) => {
    const one = found.get(key) as StoredBytes | string;
    return typeof one === 'string' ? one : new Picture(image, one);
  });
}
