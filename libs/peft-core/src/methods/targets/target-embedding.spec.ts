import { setDevice, tensor, tidy } from '@graft/kernels';
import { afterEach, expect, it } from 'vitest';
import { withoutWeights } from './target-embedding.js';

afterEach(() => setDevice('cpu'));

const weights = (values: readonly number[]) =>
  new Map([['embed_tokens.weight', tensor(values, [2, 2])]]);

it("skips the base's own matrix in a file, and rejects another one", () => {
  tidy(() => {
    const stored = new Map([...weights([1, 2, 3, 4]), ['x.lora_A', tensor([1], [1])]]);
    expect([...withoutWeights(stored, weights([1, 2, 3, 4])).keys()]).toEqual(['x.lora_A']);
    expect(() => withoutWeights(stored, weights([1, 2, 3, 5]))).toThrow(/differs from the base's/);
  });
});

it('compares on the device of the base, not of the file', () => {
  tidy(() => {
    const stored = weights([1, 2, 3, 4]);
    setDevice('meta');
    // a tensor without data; the error shows that it was compared on this device
    expect(() => withoutWeights(stored, weights([1, 2, 3, 4]))).toThrow(/meta tensor/i);
  });
});
