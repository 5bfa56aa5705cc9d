/** Compares products with a packed matrix with those of the same matrix expanded. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import * as k from '../src/index.js';
import type { Dtype, Tensor } from '../src/index.js';
import { parameter, random } from './own-kernel.js';

/** Whether oneDNN uses AMX tiles instead of Graft's vector products. */
const hasTiles = (): boolean => {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8').includes('amx_bf16');
  } catch {
    return false;
  }
};

/** Numbers of rows of x: for the register path, few rows, the limit of that kernel, and more than a tile of sums. */
const ROWS = [1, 2, 3, 4, 24, 25, 70];
const FEW = 24;

const largest = (t: Tensor): number => k.amax(k.abs(k.reshape(k.to(t, 'f64'), [-1])), 0).item();

/**
 * Compares y, dx and the bias gradient: bit for bit if Graft's bf16 products multiply both. libtorch's products do not
 * guarantee bits (they were equal with every instruction set, for 16 layouts and shapes): in f32 the tolerance is below
 * the rounding of their sums, in bf16 slightly above one rounding, 2⁻⁸.
 */
export function comparePacked(
  packed: (x: Tensor, bias: Tensor | null) => Tensor,
  dense: Tensor,
  dtype: Dtype,
): void {
  const [out, size] = dense.shape as [number, number];
  const set = k.instructionSet();
  const isOwn = dtype === 'bf16' && (set === 'amx' || (set === 'avx512bf16' && !hasTiles()));
  for (const n of ROWS) {
    const x = random([n, size], dtype);
    const g = random([n, out], dtype);
    const bias = n % 2 ? random([out], dtype) : null;
    const run = (multiply: typeof packed): Record<string, Tensor> => {
      const [own, c] = [parameter(x), bias && parameter(bias)];
      const y = multiply(own, c);
      k.backward([y], [g]);
      return { y: y.detach(), dx: own.grad as Tensor, ...(c && { dc: c.grad as Tensor }) };
    };
    const [got, expected] = [run(packed), run((t, c) => k.linear(t, dense, c))];
    for (const [name, t] of Object.entries(got)) {
      const other = expected[name] as Tensor;
      expect([t.dtype, t.shape]).toEqual([dtype, other.shape]);
      const isSame = isOwn || name === 'dc' || (name === 'y' && n <= FEW && dtype === 'bf16');
      const far = largest(k.sub(k.to(t, 'f64'), k.to(other, 'f64'))) / largest(other);
      const most = isSame ? 0 : dtype === 'f32' ? 2e-6 : 8e-3;
      expect(far, `${name} of ${n} rows`).toBeLessThanOrEqual(most);
    }
  }
}
