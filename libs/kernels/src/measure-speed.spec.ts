import { expect, it } from 'vitest';
import { measureSpeed } from './measure-speed.js';
import { memory } from './runtime.js';

it('measures products within its time, and frees its tensors', () => {
  measureSpeed(0);
  const { tensors } = memory();
  const begin = performance.now();
  const { bf16Flops, f32Flops, bytesPerSecond } = measureSpeed(0.06);
  // Each of the three kinds takes its share, and at most one more product.
  expect(performance.now() - begin).toBeGreaterThanOrEqual(60);
  for (const flops of [bf16Flops, f32Flops]) {
    expect(flops).toBeGreaterThan(1e7);
    expect(flops).toBeLessThan(1e17);
  }
  expect(bytesPerSecond).toBeGreaterThan(1e6);
  expect(memory().tensors).toBe(tensors);
});
