// Functions for tasks whose examples have images.
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { mediaBytes } from '../../data/data-url.js';
import type { Augmentation } from '../../data/image/augment.js';
import { checkImages, tooManyPixels, type SizeOrProblem } from '../../data/image/image-files.js';
import { storeImages, readImages, type StoredImage } from '../../data/image/images.js';
import type { Processor } from '../../data/processor.js';
import type { JsonObject } from '../../data/json-line.js';
import type { EncodeOptions } from '../task.js';

/** Decoded image for training, or its size if only its header was read, or why it cannot be used. */
export type ReadImage = StoredImage | SizeOrProblem;

/** Decodes images or only checks them. @throws DomainError if an image takes more rows than `maxSeqLen` */
export function readImagesOf(
  files: readonly Uint8Array[],
  { image }: Processor,
  { maxSeqLen, store, origins = [] }: EncodeOptions,
): ReadImage[] {
  const { rows } = image;
  if (rows > maxSeqLen)
    throw new DomainError(
      'invalid_value',
      `an image takes ${rows} positions in this base, more than max_seq_len ${maxSeqLen}, and images are not truncated; remove max_seq_len`,
      'graft.max_seq_len',
    );
  if (store === undefined) return checkImages(files);
  return store ? storeImages(files, image, store, origins) : readImages(files, image);
}

const isSize = (one: ReadImage): one is Exclude<SizeOrProblem, string> =>
  typeof one === 'object' && 'width' in one;

/** Returns the decoded image. Null if only its header was read or it cannot be used. */
export const storedImageOf = (one: ReadImage): StoredImage | null =>
  typeof one === 'string' || isSize(one) ? null : one;

export const problemOf = (images: readonly ReadImage[]): string | null =>
  images.find((one) => typeof one === 'string') ?? null;

export const pixelsOf = (images: readonly ReadImage[]): readonly Exclude<SizeOrProblem, string>[] =>
  images.filter(isSize);

/** Returns the image as input of the front end. */
export function featureOf(stored: StoredImage | null, augmentation: Augmentation | null): Tensor {
  if (!stored) throw new DomainError('internal_error', 'an image was measured but not decoded');
  return stored.values(augmentation);
}

/**
 * Returns the images of a request's records.
 * @throws DomainError if they are too many to decode together
 */
export function imagesOfRequest(records: readonly JsonObject[]): Uint8Array[] {
  const files = records.map(({ image }) => mediaBytes('image', image, 'image'));
  const wrong = tooManyPixels(files);
  if (wrong !== null) throw new DomainError('invalid_value', wrong, 'input');
  return files;
}
