// What tasks share whose examples are of pictures.
import { DomainError } from '@graft/contracts';
import type { Tensor } from '@graft/kernels';
import { mediaBytes } from '../../data/data-url.js';
import type { Augmentation } from '../../data/image/augment.js';
import { lookAtAll, tooManyPixels, type Looked } from '../../data/image/picture-files.js';
import { keepPictures, readPictures, type Picture } from '../../data/image/pictures.js';
import type { Processor } from '../../data/processor.js';
import type { JsonObject } from '../../data/json-line.js';
import type { EncodeOptions } from '../task.js';

/** Each to be read by a step, or what it is where it was looked at alone, or why it cannot be used. */
export type Seen = Picture | Looked;

/** @throws DomainError where a picture has more rows than are asked for */
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

/** Null: it was looked at, and not read. */
export const pictureOf = (one: Seen): Picture | null =>
  typeof one === 'string' || isSize(one) ? null : one;

export const problemOf = (seen: readonly Seen[]): string | null =>
  seen.find((one) => typeof one === 'string') ?? null;

export const pixelsOf = (seen: readonly Seen[]): readonly Exclude<Looked, string>[] =>
  seen.filter(isSize);

/** As the front end takes it. */
export function featureOf(picture: Picture | null, augmentation: Augmentation | null): Tensor {
  if (!picture) throw new DomainError('internal_error', 'an image was measured but not decoded');
  return picture.values(augmentation);
}

/** The pictures of a request's records. @throws DomainError where they are too many to be decoded at once */
export function askedPictures(records: readonly JsonObject[]): Uint8Array[] {
  const files = records.map(({ image }) => mediaBytes('image', image, 'image'));
  const wrong = tooManyPixels(files);
  if (wrong !== null) throw new DomainError('invalid_value', wrong, 'input');
  return files;
}
