import { inflateSync, gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { firstOfEach } from './fashion-data.js';

/** IDX files with images of a constant gray each, cycling through the labels. */
function files(count: number): Map<string, Buffer> {
  const pixels = Buffer.alloc(16 + count * 784);
  for (let at = 0; at < count; at++) pixels.fill(at, 16 + at * 784, 16 + (at + 1) * 784);
  const labels = Buffer.concat([
    Buffer.alloc(8),
    Buffer.from(Array.from({ length: count }, (_, at) => at % 10)),
  ]);
  return new Map([
    ['train-images-idx3-ubyte.gz', gzipSync(pixels)],
    ['train-labels-idx1-ubyte.gz', gzipSync(labels)],
  ]);
}

it('returns the first images of each label as PNGs', () => {
  const found = firstOfEach(files(35), 'train', 2);
  expect(found.map(({ label }) => label).slice(9, 12)).toEqual([
    'Ankle boot',
    'T-shirt/top',
    'Trouser',
  ]);
  expect(found).toHaveLength(20);
  const png = Buffer.from(found[13]?.image.split(',')[1] ?? '', 'base64');
  expect(png.toString('latin1', 1, 4)).toBe('PNG');
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([28, 28]);
  const at = png.indexOf('IDAT');
  const rows = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)));
  expect(rows).toEqual(
    Buffer.concat(
      Array.from({ length: 28 }, () => Buffer.from([0, ...Array<number>(28).fill(13)])),
    ),
  );
});

it('reports what is missing in a package', () => {
  expect(() => firstOfEach(files(35), 't10k', 2)).toThrow('has no t10k-images-idx3-ubyte.gz');
  expect(() => firstOfEach(files(15), 'train', 2)).toThrow(
    'too few images of Fashion-MNIST: found 15',
  );
});
