// libs/peft-core/src/quant/int8.spec.ts compares the bytes with bitsandbytes; this file tests the products.
import { expect, it } from 'vitest';
import { onEachSet, random } from '../../test/own-kernel.js';
import { comparePacked } from '../../test/packed-products.js';
import * as k from '../index.js';

onEachSet((dtype) => {
  // less than a tile and a vector, and more than a panel of 64 lines and a stretch of sums
  it.each([
    [5, 7],
    [37, 53],
    [67, 96],
    [130, 4100],
  ])('multiplies like the dequantized matrix: [%i, %i]', (rows, columns) => {
    k.tidy(() => {
      const w = k.quantizeInt8(random([rows, columns], 'f32'));
      comparePacked((x, bias) => k.linearInt8(x, w, bias), k.dequantizeInt8(w, dtype), dtype);
    });
  });

  it('expands to the formula, rounded once', () => {
    k.tidy(() => {
      const w = k.quantizeInt8(random([9, 53], 'f32'));
      const scaled = k.mul(k.to(w.numbers, 'f32'), k.unsqueeze(w.scales, 1));
      const expected = k.to(k.mul(scaled, 7.874015718698502e-3), dtype);
      expect(k.dequantizeInt8(w, dtype).bytes()).toEqual(expected.bytes());
    });
  });
});

it('packs rows of zeros, with errors up to half a step', () => {
  k.tidy(() => {
    const zeros = k.dequantizeInt8(k.quantizeInt8(k.zeros([2, 8])), 'f32');
    expect([...zeros.toArray()]).toEqual(new Array(16).fill(0));
    const matrix = random([20, 300], 'f32');
    const w = k.quantizeInt8(matrix);
    const off = k.div(k.abs(k.sub(k.dequantizeInt8(w, 'f32'), matrix)), k.unsqueeze(w.scales, 1));
    // half of 1 / 127, plus the rounding of f16
    expect(k.amax(k.reshape(off, [-1]), 0).item()).toBeLessThan(0.0045);
  });
});

it('names mismatched arguments', () => {
  k.tidy(() => {
    const w = k.quantizeInt8(random([4, 32], 'f32'));
    expect(() => k.linearInt8(random([2, 31], 'f32'), w)).toThrow('x [n, 32] for W [4, 32]');
    const other = { ...w, scales: k.zeros([3]) };
    expect(() => k.dequantizeInt8(other, 'f32')).toThrow('f32 [4], got');
    expect(() => k.dequantizeInt8({ ...w, numbers: k.zeros([4, 32]) }, 'f32')).toThrow(
      'i8 [rows, columns]',
    );
  });
});
