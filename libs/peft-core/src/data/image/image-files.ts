// Decodes image files to upright RGB like transformers' load_image (Pillow's exif_transpose and
// convert('RGB')): grayscale in all three channels, no transparency, the first frame of an animation. Loads
// no native code itself.
import {
  readHeaders,
  readPixels,
  type Header,
  type Pixels,
  type Undecoded,
} from './decode-thread.js';

export type { Pixels } from './decode-thread.js';

/**
 * Formats by their first bytes. Other formats of libvips (SVG, PDF) are programs or pages rather than images.
 */
const FORMATS: readonly (readonly [name: string, begins: RegExp])[] = [
  ['JPEG', /^\xff\xd8\xff/],
  ['PNG', /^\x89PNG\r\n/],
  ['GIF', /^GIF8[79]a/],
  ['WebP', /^RIFF[^]{4}WEBP/],
  ['TIFF', /^(II\*\0|MM\0\*)/],
];
const NAMES = FORMATS.map(([name]) => name);
export const IMAGE_FORMATS = `${NAMES.slice(0, -1).join(', ')} or ${NAMES.at(-1)}`;

/**
 * 32 megapixels, 96 MB, of which a trainer has several copies. Larger images are decompression bombs, or
 * should be resized once instead of in every training.
 */
export const MOST_PIXELS = 32_000_000;
/** Maximum number of pixels of all images of a request. */
const MOST_PIXELS_PER_REQUEST = 2 * MOST_PIXELS;
const MOST_SIDE = 32_768;
/** Maximum number of pixels that are decoded together: 96 MB. */
const PIXELS_AT_ONCE = 32_000_000;

/** Size of an image, or why it cannot be used. */
export type SizeOrProblem = { readonly width: number; readonly height: number } | string;

/** Reads the headers only. */
export function readSizes(images: readonly Uint8Array[]): SizeOrProblem[] {
  return among(images, (bytes) => formatProblem(bytes), readHeaders, sizeOf);
}

/** Returns why the images of a request are too large to be decoded while others wait, or null. */
export function tooManyPixels(images: readonly Uint8Array[]): string | null {
  const pixels = readSizes(images).reduce(
    (sum, one) => sum + (typeof one === 'string' ? 0 : one.width * one.height),
    0,
  );
  return pixels <= MOST_PIXELS_PER_REQUEST
    ? null
    : `the images have ${Math.ceil(pixels / 1e6)} million pixels in total; at most ${MOST_PIXELS_PER_REQUEST / 1e6} million are allowed per request`;
}

/**
 * Decodes images completely, in batches that bound memory. Calls `take` with each result or why it cannot be
 * used.
 */
export function decodeImages(
  images: readonly Uint8Array[],
  take: (place: number, image: Pixels | string) => void,
): void {
  const sizes = readSizes(images);
  for (const places of pieces(sizes)) {
    const found = readPixels(places.map((place) => images[place] as Uint8Array));
    for (const [i, place] of places.entries()) {
      const one = found[i] as Pixels | Undecoded;
      take(place, 'problem' in one ? undecodable(one) : one);
    }
  }
  for (const [place, one] of sizes.entries()) if (typeof one === 'string') take(place, one);
}

/** Decodes images completely, but returns only their sizes. */
export function checkImages(images: readonly Uint8Array[]): SizeOrProblem[] {
  const found: SizeOrProblem[] = [];
  decodeImages(images, (place, one) => {
    found[place] = typeof one === 'string' ? one : { width: one.width, height: one.height };
  });
  return found;
}

/** Indices of images that can be decoded, grouped into batches that fit in memory. */
function pieces(sizes: readonly SizeOrProblem[]): number[][] {
  const all: number[][] = [];
  let pixels = Infinity;
  for (const [place, one] of sizes.entries()) {
    if (typeof one === 'string') continue;
    const more = one.width * one.height;
    if (pixels + more > PIXELS_AT_ONCE) {
      all.push([]);
      pixels = 0;
    }
    all.at(-1)?.push(place);
    pixels += more;
  }
  return all;
}

/** Requests only those that pass a check. */
function among<T>(
  images: readonly Uint8Array[],
  check: (bytes: Uint8Array) => string | null,
  read: (images: readonly Uint8Array[]) => readonly (T | Undecoded)[],
  of: (found: T | Undecoded) => SizeOrProblem,
): SizeOrProblem[] {
  const wrong = images.map(check);
  const found = read(images.filter((_, i) => wrong[i] === null))[Symbol.iterator]();
  return wrong.map((one) => one ?? of(found.next().value as T | Undecoded));
}

function formatProblem(bytes: Uint8Array): string | null {
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  return FORMATS.some(([, begins]) => begins.test(head))
    ? null
    : `the image is not ${IMAGE_FORMATS}`;
}

function sizeOf(header: Header | Undecoded): SizeOrProblem {
  if ('problem' in header) return undecodable(header);
  const { width, height, space } = header;
  if (width > MOST_SIDE || height > MOST_SIDE || width * height > MOST_PIXELS)
    return `the image has ${width} × ${height} pixels; at most ${MOST_PIXELS / 1e6} million pixels and ${MOST_SIDE} per side are allowed`;
  // Pillow and libvips convert it to different colors
  if (space === 'cmyk') return 'the image is in CMYK, for printing; save it in RGB';
  if (/16$/.test(space)) return 'the image has 16 bits per channel; save it with 8';
  return { width, height };
}

const undecodable = ({ problem }: Undecoded): string =>
  `the image cannot be decoded: ${problem.trim().split('\n', 1)[0]?.slice(0, 200)}`;
