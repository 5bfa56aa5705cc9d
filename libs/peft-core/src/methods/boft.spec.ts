import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'BOFT', init_weights: false };

it.each([
  { boft_block_size: 2 },
  { boft_block_size: 32 },
  { boft_block_size: 0, boft_block_num: 8 },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...stirred, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(2e-5);
  expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
});

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'BOFT' }).update)).toBe(0);
});

it('disables a share of the blocks in training, different in each step', () => {
  const peft = { ...stirred, boft_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(q.outcome(peft, { training: true }).update).toEqual(trained);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
  expect(worst(q.outcome(peft).update, q.outcome(stirred).update)).toBe(0);
  // an eighth is less than one block, so no block is dropped; dropping all leaves only the scales
  const share = (p: number): Float32Array =>
    q.outcome({ ...stirred, boft_dropout: p }, { training: true }).update;
  expect(share(0.12)).toEqual(q.outcome(stirred).update);
  expect(worst(share(1), q.outcome(stirred).update)).toBeGreaterThan(1e-1);
});

it.each([
  [
    { boft_block_size: 5 },
    'boft_block_size',
    'boft_block_size must divide the 32 inputs of model.layers.0.self_attn.q_proj, got 5',
  ],
  [{ boft_block_size: 0, boft_block_num: 3 }, 'boft_block_num', expect.stringContaining('got 3')],
  [
    { boft_block_num: 8 },
    'boft_block_size',
    expect.stringContaining('either boft_block_size or boft_block_num'),
  ],
  [{ boft_block_size: 0 }, 'boft_block_size', expect.stringContaining('must be above 0')],
  [
    { boft_n_butterfly_factor: 2 },
    'boft_n_butterfly_factor',
    expect.stringContaining('not supported'),
  ],
])('rejects %o before anything is loaded', (fields, field, message: unknown) => {
  expect(refusal({ peft_type: 'BOFT', ...fields })).toMatchObject({
    param: `peft.${field}`,
    message,
  });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'BOFT' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
