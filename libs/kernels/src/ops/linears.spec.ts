import { describe, expect, it } from 'vitest';
import { onEachSet, random } from '../../test/own-kernel.js';
import * as k from '../index.js';
import type { LinearsWeight, Tensor } from '../index.js';

const SIZE = 96;
/** Output sizes: one that is no multiple of the tile, one small, and one for several threads. */
const OUT = [70, 5, 900];

const q8 = (rows: number): LinearsWeight => ({
  shape: [rows, SIZE],
  blocks: k.quantizeGgml(random([rows, SIZE], 'f32'), 'Q8_0'),
  code: k.GGML_BLOCKS.Q8_0.code,
});
const dense = (rows: number): LinearsWeight => random([rows, SIZE], 'bf16');

const alone = (x: Tensor, w: LinearsWeight, bias: Tensor | null): Tensor =>
  w instanceof k.Tensor ? k.linear(x, w, bias) : k.linearGgml(x, w, bias);

onEachSet((dtype) => {
  if (dtype === 'f32') {
    it('do not support f32', () => {
      k.noGrad(() => expect(k.hasLinears(random([1, SIZE], dtype), [], [])).toBe(false));
    });
    return;
  }
  it.each([0, 1, 4, 7, 24])('have the bits of separate calls, for %i rows', (rows) => {
    k.noGrad(() =>
      k.tidy(() => {
        const x = random([rows, SIZE], dtype);
        const weights = OUT.flatMap((out) => [dense(out), q8(out)]);
        const biases = OUT.flatMap((out) => [null, random([out], dtype)]);
        expect(k.hasLinears(x, weights, biases)).toBe(true);
        const got = k.linears(x, weights, biases);
        expect(got).toHaveLength(weights.length);
        got.forEach((y, i) => {
          const expected = alone(x, weights[i] as LinearsWeight, biases[i] as Tensor | null);
          expect(y.shape).toEqual(expected.shape);
          expect(y.bytes()).toEqual(expected.bytes());
        });
      }),
    );
  });
});

describe('one product of several', () => {
  it('supports few rows without gradients', () => {
    const [few, more] = [random([24, SIZE], 'bf16'), random([25, SIZE], 'bf16')];
    expect(k.hasLinears(few, [], [])).toBe(false);
    k.noGrad(() => expect([few, more].map((x) => k.hasLinears(x, [], []))).toEqual([true, false]));
  });

  it.each<[string, () => [LinearsWeight, Tensor | null], string]>([
    [
      'lines of another width',
      () => [random([4, 32], 'bf16'), null],
      'matrix 0 has lines of 32 numbers, x of 96',
    ],
    ['a bias of another length', () => [dense(4), random([5], 'bf16')], 'expected bf16 [4]'],
    ['a matrix in f32', () => [random([4, SIZE], 'f32'), null], 'matrix 0 is not bf16 [out, in]'],
  ])('refuses %s', (_, operands, message) => {
    const [w, bias] = operands();
    expect(() => k.linears(random([2, SIZE], 'bf16'), [w], [bias])).toThrow(message);
  });
});
