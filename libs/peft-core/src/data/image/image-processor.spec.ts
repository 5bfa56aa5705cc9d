import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { tidy } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { ImageProcessor } from './image-processor.js';
import { imageClass, imageOptions } from './image-options.js';
import { decodeImages, readSizes, type Pixels } from './image-files.js';

const folder = new URL('../../../../../test/golden/image-processors/', import.meta.url);
const golden = JSON.parse(
  gunzipSync(readFileSync(new URL('pixels.json.gz', folder))).toString(),
) as {
  processors: Record<string, Record<string, unknown>>;
  pictures: Record<
    string,
    { size: [number, number]; sha256: string } & Record<
      string,
      { pixels: number[]; values: number[] }
    >
  >;
};
const bytesOf = (name: string): Buffer => readFileSync(new URL(name, folder));

function decoded(bytes: Uint8Array): Pixels {
  let found: Pixels | string = 'nothing';
  decodeImages([bytes], (_, picture) => (found = picture));
  if (typeof found === 'string') throw new Error(found);
  return found;
}

describe.each(Object.entries(golden.pictures))('%s', (name, { size, sha256, ...cases }) => {
  it('is decoded to the same pixels as by transformers’ load_image', () => {
    const { width, height, data } = decoded(bytesOf(name));
    expect([width, height]).toEqual(size);
    expect(readSizes([bytesOf(name)])).toEqual([{ width, height }]);
    expect(createHash('sha256').update(data).digest('hex')).toBe(sha256);
  });

  it.each(Object.keys(golden.processors))(
    'is processed to the same values by the processor "%s"',
    (of) => {
      const processor = new ImageProcessor(golden.processors[of] as never, () => 5);
      const pixels = processor.resized(decoded(bytesOf(name)));
      const wanted = cases[of] as (typeof cases)[string];
      expect([...pixels]).toEqual(wanted.pixels);
      const values = tidy(() => processor.values(pixels).toArray() as Float32Array);
      // f32 arithmetic in the same order: equal bits
      expect([...values].filter((_, i) => i % 97 === 0)).toEqual(wanted.values);
    },
  );
});

const refusals: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ['bytes that are not an image', Buffer.from('hello'), /not JPEG, PNG, GIF, WebP or TIFF/],
  ['an SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /is not JPEG/],
  ['an image truncated in its header', bytesOf('grey.png').subarray(0, 20), /cannot be decoded/],
  ['an image truncated in its pixels', bytesOf('alpha.png').subarray(0, 1500), /cannot be decoded/],
];

it.each(refusals)('rejects %s with a message', (_, bytes, reason) => {
  expect(() => decoded(bytes)).toThrow(reason);
});

it('decodes the other images if one cannot be decoded', () => {
  const found: string[] = [];
  const pictures = [Buffer.from('no'), bytesOf('grey.png'), bytesOf('small.webp')];
  decodeImages(pictures, (place, one) => {
    found[place] = typeof one === 'string' ? 'refused' : `${one.width}x${one.height}`;
  });
  expect(found).toEqual(['refused', '29x45', '7x9']);
});

describe('preprocessor_config.json', () => {
  it('is read with the defaults of its class, also in older formats', () => {
    const old = { feature_extractor_type: 'ViTFeatureExtractor', size: 32, do_resize: true };
    expect(imageOptions(old)).toMatchObject({
      resize: { size: [32, 32], resampling: 'bilinear' },
      crop: null,
    });
    const deit = { feature_extractor_type: 'DeiTFeatureExtractor', size: 256, resample: 3 };
    expect(imageOptions(deit)).toMatchObject({
      resize: { size: [256, 256], resampling: 'bicubic' },
      crop: [224, 224],
    });
    const bit = { image_processor_type: 'BitImageProcessorFast', size: 30, crop_size: 20 };
    expect(imageOptions(bit)).toMatchObject({ resize: { size: 30 }, crop: [20, 20] });
    expect(imageClass({ feature_extractor_type: 'SomethingElseFeatureExtractor' })).toBeNull();
  });

  it.each([
    [{ image_processor_type: 'MllamaImageProcessor' }, /"MllamaImageProcessor" is not supported/],
    [{ image_processor_type: 'ViTImageProcessor', do_pad: true }, /do_pad/],
    [{ image_processor_type: 'ViTImageProcessor', patch_size: 3 }, /the key "patch_size"/],
    [{ image_processor_type: 'ViTImageProcessor', resample: 1 }, /resample/],
    [{ image_processor_type: 'BitImageProcessor', do_center_crop: false }, /several sizes/],
  ])('rejects %j, naming the key', (config, reason) => {
    expect(() => imageOptions(config)).toThrow(reason);
  });
});
