import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

const stirred = { peft_type: 'C3A', init_weights: 'gaussian' };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([1, 2, 16, 32])('blocks of %i: the forward pass equals the merged weight', (size) => {
  const { update, merged } = q.outcome({ ...stirred, block_size: size });
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(2e-5);
  // PEFT's own backward pass differs: its blocks are transposed
  expect(q.inputGradientError({ ...stirred, block_size: size })).toBeLessThan(1e-5);
});

it.each([
  [true, 0],
  ['kaiming_uniform', Math.sqrt(1 / 32)],
  ['xavier_uniform', Math.sqrt(6 / 64)],
  [false, Math.sqrt(6 / 64)],
])('init_weights %o starts within %d', (init_weights, bound) => {
  const kernel = q
    .outcome({ peft_type: 'C3A', block_size: 4, init_weights })
    .parts.get('c3a_kernel');
  const most = largest(kernel as Float32Array);
  expect(most).toBeLessThanOrEqual(bound);
  expect(most).toBeGreaterThanOrEqual(0.95 * bound);
});

it('rejects a size that does not divide a target before anything is loaded', () => {
  expect(refusal({ peft_type: 'C3A', block_size: 12, target_modules: ['v_proj'] })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.block_size',
    message: expect.stringContaining('32 inputs and 16 outputs') as string,
  });
  expect(refusal({ peft_type: 'C3A' })).toMatchObject({
    message: expect.stringMatching(/got 256; the largest that does is 32/) as string,
  });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'C3A', block_size: 4 }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
