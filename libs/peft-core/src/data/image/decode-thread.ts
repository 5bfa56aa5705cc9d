// Decodes images with sharp, several in parallel on libuv's threads, in a thread that the caller waits for.
import { BlockingThread } from '../asked-thread.js';

export type Request =
  | { readonly op: 'sizes'; readonly images: readonly Uint8Array[] }
  | { readonly op: 'pixels'; readonly images: readonly Uint8Array[] };

/** Header of an image. Width and height are those of the upright image. */
export interface Header {
  readonly format: string;
  readonly width: number;
  readonly height: number;
  /** Color space in sharp's terms: srgb, b-w, cmyk, rgb16, … */
  readonly space: string;
}

/** RGB, one byte each, row by row [height, width, 3]; upright. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Message of libvips for an image that it could not read. */
export interface Undecoded {
  readonly problem: string;
}

const thread = new BlockingThread<Request>({
  name: 'the image decoding thread',
  package: 'sharp',
  source: answering.toString(),
});

export const readHeaders = (images: readonly Uint8Array[]): readonly (Header | Undecoded)[] =>
  thread.ask({ op: 'sizes', images }) as readonly (Header | Undecoded)[];

export const readPixels = (images: readonly Uint8Array[]): readonly (Pixels | Undecoded)[] =>
  thread.ask({ op: 'pixels', images }) as readonly (Pixels | Undecoded)[];

/** Runs in the worker. It must not refer to anything outside itself. */
function answering(load: NodeJS.Require, path: string): (request: Request) => Promise<unknown> {
  const sharp = load(path) as typeof import('sharp').default;
  sharp.cache(false);
  // one thread per image: several are decoded in parallel
  sharp.concurrency(1);
  // only the first frame of an animation, as in transformers; color profiles are ignored, as in Pillow
  const open = (bytes: Uint8Array): import('sharp').Sharp =>
    sharp(bytes, { failOn: 'error', ignoreIcc: true, limitInputPixels: false });

  const header = async (bytes: Uint8Array): Promise<Header> => {
    const { format, space, autoOrient } = await open(bytes).metadata();
    return { format, space, width: autoOrient.width, height: autoOrient.height };
  };
  const pixels = async (bytes: Uint8Array): Promise<Pixels> => {
    const { data, info } = await open(bytes)
      .autoOrient()
      .toColourspace('srgb')
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`${info.channels} channels`);
    return { width: info.width, height: info.height, data };
  };
  const attempted = <T>(work: Promise<T>): Promise<T | Undecoded> =>
    work.catch((error: unknown) => ({
      problem: error instanceof Error ? error.message : String(error),
    }));
  return (request) => {
    const of: (bytes: Uint8Array) => Promise<Header | Pixels> =
      request.op === 'sizes' ? header : pixels;
    return Promise.all(request.images.map((bytes) => attempted(of(bytes))));
  };
}
