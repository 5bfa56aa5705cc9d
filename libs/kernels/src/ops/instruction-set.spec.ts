import { expect, it, vi } from 'vitest';
import { native } from '../native.js';
import type { Tensor } from '../tensor.js';
import { isOwn } from './instruction-set.js';
import { hasLowRank } from './low-rank.js';
import { hasSingle } from './single-attention.js';

// no GPU is needed, because no operator is called
it('operators without CUDA code do not support CUDA tensors', () => {
  const built = native().build();
  vi.spyOn(native(), 'build').mockReturnValue({ ...built, cudaBodies: true });
  const on = (device: string) => ({ device, dtype: 'bf16' }) as Tensor;
  expect([isOwn, hasLowRank, hasSingle].map((is) => is(on('cpu')))).toEqual([true, true, true]);
  expect([isOwn, hasLowRank, hasSingle].map((is) => is(on('cuda:0')))).toEqual([true, false, false]); // prettier-ignore
});
