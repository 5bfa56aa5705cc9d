// Functions for tasks whose examples have images.
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { mediaBytes } from '../../data/data-url.js';
import type { Augmentation } from '../../data/image/augment.js';
import { lookAtAll, tooManyPixels, type Looked } from '../../data/image/picture-files.js';
import { keepPictures, readPictures, type Picture } from '../../data/image/pictures.js';
import type { Processor } from '../../data/processor.js';
import type { JsonObject } from '../../data/json-line.js';
import type { EncodeOptions } from '../task.js';

/** Decoded image for training, or its size if only its header was read, or why it cannot be used. */
export type Seen = Picture | Looked;

/** Decodes images or only checks them. @throws DomainError if an image takes more rows than `maxSeqLen` */
export function seenOf(
  files: readonly Uint8Array[],
  { image }: Processor,
  { maxSeqLen, store, origins = [] }: EncodeOptions,
): Seen[] {
  const { rows } = image;
  if (rows > maxSeqLen)
    throw new DomainError(
      'invalid_value',
      `an image takes ${rows} positions in this base, more than max_seq_len ${maxSeqLen}, and images are not truncated; remove max_seq_len`,
      'graft.max_seq_len',
    );
  if (store === undefined) return lookAtAll(files);
  return store ? keepPictures(files, image, store, origins) : readPictures(files, image);
}

const isSize = (one: Seen): one is Exclude<Looked, string> =>
  typeof one === 'object' && 'width' in one;

/** Returns the decoded image. Null if only its header was read or it cannot be used. */
export const pictureOf = (one: Seen): Picture | null =>
  typeof one === 'string' || isSize(one) ? null : one;

export const problemOf = (seen: readonly Seen[]): string | null =>
  seen.find((one) => typeof one === 'string') ?? null;

export const pixelsOf = (seen: readonly Seen[]): readonly Exclude<Looked, string>[] =>
  seen.filter(isSize);

/** Returns the image as input of the front end. */
export function featureOf(picture: Picture | null, augmentation: Augmentation | null): Tensor {
  if (!picture) throw new DomainError('internal_error', 'an image was measured but not decoded');
  return picture.values(augmentation);
}

/**
 * Returns the images of a request's records.
 * @throws DomainError if they are too many to decode together
 */
export function askedPictures(records: readonly JsonObject[]): Uint8Array[] {
  const files = records.map(({ image }) => mediaBytes('image', image, 'image'));
  const wrong = tooManyPixels(files);
  if (wrong !== null) throw new DomainError('invalid_value', wrong, 'input');
  return files;
}
