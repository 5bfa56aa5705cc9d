// libs/peft-core/src/io/gguf/gguf.spec.ts compares expanded blocks with ggml's own library.
import { describe, expect, it } from 'vitest';
import { onEachSet, random } from '../../test/own-kernel.js';
import { comparePacked } from '../../test/packed-products.js';
import * as k from '../index.js';
import type { GgmlMatrix } from '../index.js';

/** Layouts by ggml's type number, with the values and bytes per block. */
const LAYOUTS = {
  Q4_0: { code: 2, numbers: 32, bytes: 18 },
  Q4_1: { code: 3, numbers: 32, bytes: 20 },
  Q5_0: { code: 6, numbers: 32, bytes: 22 },
  Q5_1: { code: 7, numbers: 32, bytes: 24 },
  Q8_0: { code: 8, numbers: 32, bytes: 34 },
  Q4_K: { code: 12, numbers: 256, bytes: 144 },
  Q5_K: { code: 13, numbers: 256, bytes: 176 },
  Q6_K: { code: 14, numbers: 256, bytes: 210 },
};
type Name = keyof typeof LAYOUTS;
const NAMES = Object.keys(LAYOUTS) as Name[];

/** Offsets of a block's f16 numbers: its scale, and its minimum or the scale of its minima. */
const HALVES: Record<Name, readonly number[]> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

/** Random blocks. Any bytes are valid except the f16 numbers, which get 10⁻³ to 10⁻² with either sign. */
function blocks(name: Name, rows: number, columns: number): GgmlMatrix {
  const { code, numbers, bytes } = LAYOUTS[name];
  const line = (columns / numbers) * bytes;
  const all = Uint8Array.from({ length: rows * line }, (_, i) => (i * 2654435761) >>> 13);
  for (let at = 0; at < all.length; at += bytes)
    for (const half of HALVES[name])
      all[at + half + 1] = ((at >> 3) & 128) | (0x14 + ((at >> 4) & 7));
  return { shape: [rows, columns], blocks: k.tensor(all, [rows, line]), code };
}

onEachSet((dtype) => {
  describe.each(NAMES)('%s', (name) => {
    // one block per row, panels and tiles that end inside the matrix, and sums split into stretches
    const width = Math.max(LAYOUTS[name].numbers, 32);
    it.each([
      [5, width],
      [67, 3 * width],
      [130, 4352],
    ])('multiplies like the dequantized matrix: [%i, %i]', (rows, columns) => {
      k.tidy(() => {
        const w = blocks(name, rows, columns);
        const dense = k.dequantizeGgml(w, dtype);
        expect(dense.shape).toEqual([rows, columns]);
        comparePacked((x, bias) => k.linearGgml(x, w, bias), dense, dtype);
      });
    });
  });
});

it.each(NAMES)('%s has the same bits on every instruction set', (name) => {
  k.tidy(() => {
    const w = blocks(name, 9, 512);
    const best = k.instructionSet();
    const bytes = (dtype: 'f32' | 'bf16'): Uint8Array => k.dequantizeGgml(w, dtype).bytes();
    const [f32, bf16] = [bytes('f32'), bytes('bf16')];
    expect(k.to(k.dequantizeGgml(w, 'f32'), 'bf16').bytes()).toEqual(bf16);
    try {
      for (const set of k.instructionSets()) {
        k.instructionSet(set);
        expect(bytes('f32')).toEqual(f32);
        expect(bytes('bf16')).toEqual(bf16);
      }
    } finally {
      k.instructionSet(best);
    }
  });
});

it('names mismatched arguments', () => {
  k.tidy(() => {
    const w = blocks('Q8_0', 4, 64);
    expect(() => k.linearGgml(random([2, 32], 'f32'), w)).toThrow('x [n, 64] for W [4, 64]');
    expect(() => k.dequantizeGgml({ ...w, code: 12 }, 'f32')).toThrow('a multiple of 144');
    expect(() => k.dequantizeGgml({ ...w, code: 30 }, 'f32')).toThrow(
      'a layout of ggml in blocks, got 30',
    );
  });
});
