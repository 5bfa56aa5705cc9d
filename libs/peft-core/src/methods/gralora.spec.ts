import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { checkPeft } from '../catalog.js';

const random = { peft_type: 'GRALORA', r: 8, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([{}, { gralora_k: 1 }, { gralora_k: 8, hybrid_r: 3 }, { gralora_k: 4, alpha: 3 }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...random, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-2);
    expect(worst(update, merged)).toBeLessThan(1e-5 * Math.max(1, largest(merged)));
  },
);

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'GRALORA', hybrid_r: 4 }).update)).toBe(0);
});

it.each([0, 4])(
  'applies dropout to inputs in training, different in each step; hybrid_r %i',
  (hybrid_r) => {
    const peft = { ...random, hybrid_r, gralora_dropout: 0.5 };
    const trained = q.outcome(peft, { training: true }).update;
    expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-2);
    expect(q.outcome(peft, { training: true }).update).toEqual(trained);
    expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
  },
);

it('rejects sizes that the blocks do not divide', () => {
  expect(() => checkPeft({ peft_type: 'GRALORA', r: 9 })).toThrow(
    expect.objectContaining({ param: 'peft.r' }),
  );
  expect(refusal({ peft_type: 'GRALORA', r: 30, gralora_k: 3 })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.gralora_k',
  });
});
