import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'PEANUT', r: 4, init_weights: false };
const ACTIVATIONS = ['gelu', 'gelu_new', 'linear', 'relu', 'sigmoid', 'silu', 'tanh'];

it.each([
  ...[0, 1, 3].map((depth) => ({ depth })),
  ...ACTIVATIONS.map((act_fn) => ({ act_fn })),
  { scaling: 5 },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...stirred, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(5e-5);
  expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
});

it('activations differ', () => {
  const updates = ACTIVATIONS.map((act_fn) => q.outcome({ ...stirred, act_fn }).update.join());
  expect(new Set(updates).size).toBe(ACTIVATIONS.length);
});

it('starts as the base, with a matrix for each layer', () => {
  const { update, parts } = q.outcome({ peft_type: 'PEANUT', r: 4, depth: 2 });
  expect(largest(update)).toBe(0);
  expect(parts.size).toBeGreaterThan(2);
});

it('rejects an unknown activation, naming it', () => {
  expect(refusal({ peft_type: 'PEANUT', act_fn: 'laplace' })).toMatchObject({
    param: 'peft.act_fn',
  });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'PEANUT' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
