import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as k from '../index.js';
import type { GgmlBlocks } from '../index.js';

// Bits from llama.cpp's own library; test/golden/ggml_quantize.py explains how.
const golden = JSON.parse(readFileSync(new URL('ggml.golden.json', import.meta.url), 'utf8')) as {
  shape: [number, number];
  f32: string;
  types: Record<GgmlBlocks, string>;
};
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const NAMES = Object.keys(k.GGML_BLOCKS) as GgmlBlocks[];

it.each(NAMES)('%s equals ggml’s result bit for bit', (name) => {
  k.tidy(() => {
    const matrix = k.fromBytes(bytesOf(golden.f32), golden.shape, 'f32');
    const packed = k.quantizeGgml(matrix, name);
    const { blockSize, blockBytes } = k.GGML_BLOCKS[name];
    expect(packed.shape).toEqual([golden.shape[0], (golden.shape[1] / blockSize) * blockBytes]);
    expect(packed.bytes()).toEqual(bytesOf(golden.types[name]));
  });
});

it.each(NAMES)('%s of many rows does not depend on threads', (name) => {
  k.tidy(() => {
    const matrix = k.fromBytes(bytesOf(golden.f32), golden.shape, 'f32');
    const once = k.quantizeGgml(matrix, name).bytes();
    const often = k.quantizeGgml(k.cat(Array.from({ length: 40 }, () => matrix)), name).bytes();
    for (let i = 0; i < 40; i++)
      expect(often.subarray(i * once.length, (i + 1) * once.length)).toEqual(once);
  });
});

it('rejects rows that are not a multiple of a block, and other dtypes', () => {
  k.tidy(() => {
    const matrix = k.zeros([2, 48], 'f32');
    expect(() => k.quantizeGgml(matrix, 'Q8_0')).toThrow(
      'rows of a multiple of 32 numbers, got 48',
    );
    expect(() => k.quantizeGgml(k.zeros([2, 64], 'bf16'), 'Q8_0')).toThrow('a matrix of f32');
  });
});
