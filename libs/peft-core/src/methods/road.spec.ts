import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([
  ['road_1', 2, 16],
  ['road_2', 8, 32],
  ['road_4', 32, 64],
])('%s: the forward pass equals the merged weight', (variant, group_size, size) => {
  const peft = { peft_type: 'ROAD', variant, group_size };
  const { update, merged, parts } = q.outcome({ ...peft, init_weights: false });
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(2e-5);
  for (const part of ['road_theta', 'road_alpha']) expect(parts.get(part)?.length).toBe(size);
  expect(largest(q.outcome(peft).update)).toBe(0);
});

it('requires groups that divide the outputs', () => {
  expect(refusal({ peft_type: 'ROAD' })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.group_size',
    message: expect.stringMatching(/32 outputs of .*q_proj, got 64/) as string,
  });
  expect(refusal({ peft_type: 'ROAD', group_size: 5 })).toMatchObject({
    param: 'peft.group_size',
  });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'ROAD', group_size: 4 }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
