// libs/peft-core/src/quant/nf4.spec.ts compares the bytes with bitsandbytes; this file tests the formula, odd shapes
// and products.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { onEachBody, random } from '../../test/own-kernel.js';
import { comparePacked } from '../../test/packed-products.js';
import * as k from '../index.js';
import type { Nf4Matrix, Tensor } from '../index.js';

/** Quantiles of a normal distribution (QLoRA, appendix E), as published. */
const CODE = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
  0.7229568362236023, 1.0,
];
const floats = (t: Tensor): number[] => Array.from(k.to(t, 'f32').toArray() as Float32Array);

/** Nearest code for each value, and the scales of their blocks. */
function formula(
  values: readonly number[],
  blocksize: number,
): { codes: number[]; absmax: number[] } {
  const absmax: number[] = [];
  const codes = values.map((value, i) => {
    const b = Math.floor(i / blocksize);
    absmax[b] ??= Math.max(...values.slice(b * blocksize, (b + 1) * blocksize).map(Math.abs));
    const scaled = value / absmax[b];
    const far = CODE.map((c) => Math.abs(c - scaled));
    return far.indexOf(Math.min(...far));
  });
  return { codes, absmax };
}

const unpacked = (w: Nf4Matrix): number[] =>
  [...(w.numbers.toArray() as Uint8Array)].flatMap((pair) => [pair >> 4, pair & 15]);

const SHAPES: readonly (readonly [number, number])[] = [
  [24, 80],
  [7, 9],
  [5, 13],
  [1, 1],
  [130, 131],
];

describe.each(['f32', 'bf16', 'f16'] as const)('NF4 of %s', (dtype) => {
  it.each(SHAPES)('chooses the nearest code: [%i, %i]', (rows, columns) => {
    k.tidy(() => {
      const matrix = random([rows, columns], dtype);
      const w = k.quantizeNf4(matrix, { doubleQuant: false });
      const { codes, absmax } = formula(floats(matrix), 64);
      expect(unpacked(w).slice(0, codes.length)).toEqual(codes);
      if (codes.length % 2 === 1) expect(unpacked(w)[codes.length]).toBe(7);
      expect(floats(w.absmax)).toEqual(absmax);
      const whole = codes.map((code, i) =>
        Math.fround(Math.fround(CODE[code] as number) * (absmax[Math.floor(i / 64)] as number)),
      );
      expect(floats(k.dequantizeNf4(w, 'f32'))).toEqual(whole);
    });
  });
});

describe.each([
  [false, 64],
  [true, 64],
  [true, 128],
])('quantised twice: %s, blocks of %i', (doubleQuant, blocksize) => {
  it.each(SHAPES)('libtorch computes the same: [%i, %i]', (rows, columns) => {
    k.tidy(() => {
      const w = k.quantizeNf4(random([rows, columns], 'f32'), { doubleQuant, blocksize });
      for (const dtype of ['f32', 'bf16', 'f16'] as const)
        expect(k.dequantizeNf4(w, dtype).bytes()).toEqual(k.dequantizeNf4(w, dtype, true).bytes());
    });
  });
});

it('quantizes scales to within one of 256 steps', () => {
  k.tidy(() => {
    const matrix = random([300, 200], 'f32');
    const plain = k.quantizeNf4(matrix, { doubleQuant: false });
    const double = k.quantizeNf4(matrix);
    expect(double.numbers.bytes()).toEqual(plain.numbers.bytes());
    expect([double.absmax.dtype, double.absmax.size]).toEqual(['u8', Math.ceil(60000 / 64)]);
    const [exact, near] = [floats(plain.absmax), floats(double.absmax)];
    const { code, absmax, offset } = double.nested as NonNullable<Nf4Matrix['nested']>;
    const [steps, units] = [floats(code), floats(absmax)];
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    near.forEach((byte, b) => {
      const unit = units[Math.floor(b / 256)] as number;
      const value = (steps[byte] as number) * unit + offset;
      expect(Math.abs(value - (exact[b] as number))).toBeLessThan(0.008 * unit);
    });
  });
});

onEachBody((dtype) => {
  it.each(SHAPES)(
    'dequantizes with the bits of libtorch’s operators: [%i, %i]',
    (rows, columns) => {
      k.tidy(() => {
        for (const code of ['nf4', 'fp4'] as const)
          for (const doubleQuant of [false, true]) {
            const w = k.quantizeNf4(random([rows, columns], 'f32'), { code, doubleQuant });
            const composed = k.dequantizeNf4(w, dtype, true);
            expect(k.dequantizeNf4(w, dtype).bytes()).toEqual(composed.bytes());
          }
      });
    },
  );

  // more and less than a panel of 2^20 values in both directions; blocks that span rows
  it.each([
    [1500, 1024, false],
    [37, 52, true],
    [37, 53, false],
  ])(
    'multiplies as the matrix that it stands for: [%i, %i], quantised twice %s',
    (rows, columns, doubleQuant) => {
      k.tidy(() => {
        const w = k.quantizeNf4(random([rows, columns], 'f32'), { doubleQuant });
        comparePacked((x, bias) => k.linearNf4(x, w, bias), k.dequantizeNf4(w, dtype), dtype);
      });
    },
  );
});

it('expands one panel at a time', () => {
  // a separate process, so that the test runner's memory does not count
  const program = fileURLToPath(new URL('../../test/nf4-product.mjs', import.meta.url));
  const text = execFileSync(process.execPath, [program], { encoding: 'utf8' });
  const { risen, dense } = JSON.parse(text) as { risen: number; dense: number };
  expect(risen).toBeLessThan(dense / 5); // a panel in f32 is a 64th of it; the rest is the libraries' buffers
});

it('names mismatched arguments', () => {
  k.tidy(() => {
    const w = k.quantizeNf4(random([4, 32], 'f32'));
    expect(() => k.linearNf4(random([2, 31], 'f32'), w)).toThrow('x [n, 32] for W [4, 32]');
    expect(() => k.dequantizeNf4({ ...w, shape: [4, 31] }, 'f32')).toThrow('u8 [62]');
    expect(() => k.dequantizeNf4({ ...w, nested: null }, 'f32')).toThrow('absmax of 2 blocks');
    expect(() => k.quantizeNf4(random([4, 4], 'f32'), { blocksize: 7 })).toThrow('even number');
    expect(() => k.quantizeNf4(k.zeros([4, 4], 'i64'))).toThrow('f32, bf16 or f16');
  });
});
