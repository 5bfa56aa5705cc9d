import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'GLORA', init_weights: false };

it.each(['lora', 'vector', 'constant'])(
  'config_A_B %o: the forward pass equals the merged weight',
  (config_A_B) => {
    const { update, merged } = q.outcome({ ...stirred, config_A_B });
    expect(largest(merged)).toBeGreaterThan(1e-2);
    expect(worst(update, merged)).toBeLessThan(5e-5);
    expect(q.inputGradientError({ ...stirred, config_A_B })).toBeLessThan(1e-5);
    expect(largest(q.outcome({ peft_type: 'GLORA', config_A_B }).update)).toBeLessThan(1e-5);
  },
);

it('rejects a target without trainable parameters before anything is loaded', () => {
  const idle = { peft_type: 'GLORA', config_A_B: 'none' };
  expect(refusal(idle)).toMatchObject({
    param: 'peft.config_A_B',
    message: expect.stringContaining(
      'q_proj would have no trainable parameters: it has no bias',
    ) as string,
  });
  expect(refusal(idle, 'qwen2')).toBeNull();
  expect(refusal({ ...idle, config_C: 'none', config_D_E: 'none' }, 'qwen2')).toMatchObject({
    message: expect.stringContaining('config_A_B, config_C and config_D_E are "none"') as string,
  });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'GLORA' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
