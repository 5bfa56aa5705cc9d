import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, worst } from '../../test/one-linear.js';
import { checkPeft } from '../catalog.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'DEFT', init_weights: false, init_scale: 20 };

it.each([
  {},
  { r: 40 },
  { alpha: 16 },
  { decomposition_method: 'qr' },
  { decomposition_method: 'qr', para: true },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...stirred, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-2);
  expect(worst(update, merged)).toBeLessThan(2e-5);
  expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
});

it.each([{}, { alpha: 4 }, { decomposition_method: 'qr' }])('%o starts as the base', (fields) => {
  expect(largest(q.outcome({ peft_type: 'DEFT', ...fields }).update)).toBeLessThan(1e-5);
});

it('removes orthogonal directions from the output if nothing is injected', () => {
  const removed = { ...stirred, decomposition_method: 'qr', para: true, r: 32 };
  // all 32 directions: q becomes zero
  const { update } = q.outcome(removed);
  expect(worst(update, q.outcome({ ...removed, r: 31 }).update)).toBeGreaterThan(1e-2);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...stirred, deft_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-3);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it.each([
  [{ para: true, alpha: 4 }, 'alpha'],
  [{ para: true, deft_dropout: 0.1 }, 'deft_dropout'],
])('rejects a job with options that its variant does not use: %o', (fields, field) => {
  expect(() => checkPeft({ peft_type: 'DEFT', ...fields }, 'llama')).toThrow(
    expect.objectContaining({ param: `peft.${field}` }),
  );
});
