import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { checkPeft } from '../catalog.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'PSOFT', r: 4, init_weights: false };

it.each([
  {},
  { r: 32 },
  { psoft_alpha: 3 },
  { ab_svd_init: 'pissa_init' },
  { psoft_orth: false },
  { psoft_mag_a: false, psoft_mag_b: false },
  { use_cayley_neumann: true },
  { use_cayley_neumann: true, cayley_neumann_eps: 0.05 },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...stirred, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-2);
  expect(worst(update, merged)).toBeLessThan(5e-5);
  expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
});

it.each([{}, { psoft_orth: false }, { ab_svd_init: 'pissa_init', use_cayley_neumann: true }])(
  '%o starts as the base',
  (fields) => {
    const { update } = q.outcome({ ...stirred, init_weights: true, ...fields });
    expect(largest(update)).toBeLessThan(1e-6);
  },
);

it('alpha cancels, because a factor is divided by it; the side of the singular values matters', () => {
  const { update } = q.outcome(stirred);
  expect(worst(q.outcome({ ...stirred, psoft_alpha: 5 }).update, update)).toBeLessThan(1e-4);
  const other = q.outcome({ ...stirred, ab_svd_init: 'pissa_init' }).update;
  expect(worst(other, update)).toBeGreaterThan(1e-2);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...stirred, psoft_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-3);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('rejects a rank above the smaller size before anything is loaded', () => {
  expect(refusal({ peft_type: 'PSOFT', r: 17 })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.r',
    message: expect.stringMatching(/v_proj, 16, got 17/) as string,
  });
});

it.each([
  [{ num_cayley_neumann_terms: 7 }, 'num_cayley_neumann_terms'],
  [{ cayley_neumann_eps: 0.5 }, 'cayley_neumann_eps'],
  [{ psoft_svd: 'lowrank' }, 'psoft_svd'],
])('rejects a job with unused options: %o', (fields, field) => {
  expect(() => checkPeft({ peft_type: 'PSOFT', ...fields }, 'llama')).toThrow(
    expect.objectContaining({ param: `peft.${field}` }),
  );
});
