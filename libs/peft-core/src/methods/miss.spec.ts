import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { checkPeft } from '../catalog.js';

const stirred = { peft_type: 'MISS', init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

// q is 32 × 32: with 5 and 12 the last chunk is padded
it.each([1, 5, 8, 12, 32])('r %i: the forward pass equals the merged weight', (r) => {
  const { update, merged } = q.outcome({ ...stirred, r });
  expect(largest(merged)).toBeGreaterThan(1e-2);
  expect(worst(update, merged)).toBeLessThan(2e-5);
});

it('starts as the base in every variant', () => {
  for (const init_weights of [true, 'bat', 'mini'])
    expect(largest(q.outcome({ peft_type: 'MISS', r: 8, init_weights }).update)).toBe(0);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...stirred, r: 8, miss_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-2);
  expect(q.outcome(peft, { training: true }).update).toEqual(trained);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it.each([
  [{ r: 33 }, 'r'],
  [{ r: 5, init_weights: 'bat' }, 'r'],
  [{ r: 4, init_weights: 'mini', mini_r: 5 }, 'mini_r'],
])('rejects %o before anything is loaded', (fields, field) => {
  expect(refusal({ peft_type: 'MISS', ...fields })).toMatchObject({
    code: 'invalid_value',
    param: `peft.${field}`,
  });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'MISS', r: 4 }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});

it.each([
  [{ init_weights: 'bat', miss_dropout: 0.1 }, 'miss_dropout'],
  [{ mini_r: 2 }, 'mini_r'],
])('rejects a job with options that its variant does not use: %o', (fields, field) => {
  expect(() => checkPeft({ peft_type: 'MISS', ...fields }, 'llama')).toThrow(
    expect.objectContaining({ param: `peft.${field}` }),
  );
});
