import { expect } from 'vitest';
import type { Tensor } from '../src/index.js';

/** Expects the tensor's elements, in row-major order, within `tolerance` of the larger of 1 and the expected value. */
export function expectNear(actual: Tensor, expected: readonly number[], tolerance = 1e-5): void {
  const values = Array.from(actual.toArray() as Float32Array, Number);
  expect(values.length).toBe(expected.length);
  const wrong = values.findIndex((value, i) => {
    const want = expected[i] as number;
    return !(Math.abs(value - want) <= tolerance * Math.max(1, Math.abs(want)));
  });
  if (wrong >= 0)
    expect(values, `element ${wrong} is off by more than ${tolerance}`).toEqual(expected);
}

/** Elements as plain numbers. */
export const numbers = (t: Tensor): number[] => Array.from(t.toArray() as Float32Array, Number);
