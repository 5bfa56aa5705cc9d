// An image model small enough to train in a second, the golden ViT with an image processor, and images for
// it: squares of three colors with individual noise.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';

const GOLDEN = join(import.meta.dirname, 'golden/vit/base');

/** Writes the folder and returns it. */
export function writeTinyImageBase(dir: string): string {
  mkdirSync(dir, { recursive: true });
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(GOLDEN, name), join(dir, name));
  const preprocessor = {
    image_processor_type: 'ViTImageProcessor',
    size: { height: 13, width: 12 },
  };
  writeFileSync(join(dir, 'preprocessor_config.json'), JSON.stringify(preprocessor));
  return dir;
}

export type Colour = 'red' | 'green' | 'blue';
export const COLOURS: readonly Colour[] = ['red', 'green', 'blue'];

/** PNG with eight bits each of red, green and blue. @param pixel returns the color for a row and a column */
export function png(
  height: number,
  width: number,
  pixel: (y: number, x: number) => readonly [number, number, number],
): Buffer {
  const rows = Buffer.alloc(height * (1 + 3 * width));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) rows.set(pixel(y, x), y * (1 + 3 * width) + 1 + 3 * x);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const around = Buffer.alloc(8);
    around.writeUInt32BE(data.length, 0);
    around.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([around.subarray(0, 4), body, around.subarray(4)]);
  };
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Image number `place` of a color. */
export function colourPng(colour: Colour, place: number): Buffer {
  const of = COLOURS.indexOf(colour);
  return png(15 + (place % 4), 14, (y, x) => {
    const noise = (c: number): number => ((place + 1) * (7 * y + 13 * x + 5 * c)) % 60;
    const value = (c: number): number => (c === of ? 150 : 30) + noise(c);
    return [value(0), value(1), value(2)];
  });
}

export const dataUrl = (bytes: Buffer, type = 'image/png'): string =>
  `data:${type};base64,${bytes.toString('base64')}`;

/** Writes JSONL with `count` images, cycling through the colors. */
export function writeImages(path: string, count: number): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const label = COLOURS[i % COLOURS.length] as Colour;
    return JSON.stringify({ image: dataUrl(colourPng(label, i)), label });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
